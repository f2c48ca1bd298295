//! Faults of the folder and of the database as statuses, in the words of those who found them.

use tonic::{Code, Status};

use crate::{
    folder::LoadFault,
    grpc::{convert, status},
    storage::ReadFault,
};

/// Why a file was not loaded.
pub(super) fn load_fault(fault: &LoadFault) -> Status {
    match fault {
        LoadFault::Name { fault, .. } => status::of_rule(convert::malformed("name", fault.clone())),
        LoadFault::NameTaken { .. } => status::failed(Code::AlreadyExists, "NAME_TAKEN", &fault.to_string()),
        LoadFault::Place { .. } => status::failed(Code::FailedPrecondition, "FOLDER_NOT_WRITABLE", &fault.to_string()),
        LoadFault::NotYetJudged => status::failed(Code::DeadlineExceeded, "NOT_YET_JUDGED", &fault.to_string()),
        LoadFault::Core(refused) => status::status(refused),
    }
}

/// Why the database was not read.
pub(super) fn read_fault(fault: &ReadFault) -> Status {
    match fault {
        ReadFault::Name(_) => status::of_rule(convert::malformed(
            "file_name",
            "it is not a name for a snapshot: 1 to 64 of a-z A-Z 0-9 . _ -, beginning with a letter or digit",
        )),
        ReadFault::Exists(_) => status::failed(Code::AlreadyExists, "SNAPSHOT_EXISTS", &fault.to_string()),
        ReadFault::Database(_) | ReadFault::Copy { .. } => {
            tracing::warn!(%fault, "The database was not read.");
            status::failed(Code::Unavailable, "STORAGE_UNAVAILABLE", &fault.to_string())
        }
    }
}
