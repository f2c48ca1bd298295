//! A usage file on its way out: read piece by piece while it is sent, never whole in memory.

use std::{
    path::{Path, PathBuf},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use leasehold_engine::row::UsageSegmentRow;
use leasehold_keys::digest::Sha256;
use ring::digest;
use rustix::fs::OFlags;
use tokio::{
    fs::{File, OpenOptions},
    io::{AsyncRead, AsyncReadExt as _, ReadBuf},
};

use crate::way_out::{BodyFault, Trouble};

/// Bytes that are read at once.
const PIECE_BYTES: usize = 64 * 1_024;

/// Opens a closed segment's file after seeing that it is, byte by byte, what was written.
pub(super) async fn open(path: &Path, row: &UsageSegmentRow) -> Result<File, Trouble> {
    let damaged = || Trouble::FileDamaged { path: path.to_owned() };
    let disk = |why: std::io::Error| Trouble::Disk { path: path.to_owned(), why: why.to_string() };
    let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits()).unwrap_or(0);
    let mut file = match OpenOptions::new().read(true).custom_flags(flags).open(path).await {
        Ok(file) => file,
        Err(fault) if fault.kind() == std::io::ErrorKind::NotFound => return Err(damaged()),
        Err(fault) => return Err(disk(fault)),
    };
    let facts = file.metadata().await.map_err(disk)?;
    if !facts.is_file() || facts.len() != row.bytes {
        return Err(damaged());
    }
    let mut context = digest::Context::new(&digest::SHA256);
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let read = file.read(&mut piece).await.map_err(disk)?;
        if read == 0 {
            break;
        }
        context.update(piece.get(..read).unwrap_or_default());
    }
    let digest = context.finish();
    if row.sha256.is_none_or(|Sha256(bytes)| digest.as_ref() != bytes) {
        return Err(damaged());
    }
    use tokio::io::AsyncSeekExt as _;
    file.rewind().await.map_err(disk)?;
    Ok(file)
}

/// See the module.
pub(super) struct FileBody {
    file: File,
    path: PathBuf,
    left: u64,
    piece: Vec<u8>,
}

impl FileBody {
    pub(super) fn new(file: File, path: &Path, bytes: u64) -> Self {
        Self { file, path: path.to_owned(), left: bytes, piece: vec![0; PIECE_BYTES] }
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let this = &mut *self;
        if this.left == 0 {
            return Poll::Ready(None);
        }
        let want = usize::try_from(this.left).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
        let mut into = ReadBuf::new(this.piece.get_mut(..want).unwrap_or_default());
        let read = ready!(Pin::new(&mut this.file).poll_read(cx, &mut into));
        let fault = |trouble| Poll::Ready(Some(Err(BodyFault(trouble))));
        if let Err(why) = read {
            return fault(Trouble::Disk { path: this.path.clone(), why: why.to_string() });
        }
        let filled = into.filled();
        if filled.is_empty() {
            return fault(Trouble::FileDamaged { path: this.path.clone() });
        }
        this.left -= filled.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(Bytes::copy_from_slice(filled)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
