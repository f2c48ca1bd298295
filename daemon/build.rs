//! Builds a licensor's first root into the daemon: the file that `LEASEHOLD_ROOT` names at build time. Without it the
//! daemon reads its first root from the configured path, and its status says so.

use std::{env, fs, path::PathBuf};

fn main() {
    println!("cargo::rerun-if-env-changed=LEASEHOLD_ROOT");
    println!("cargo::rerun-if-changed=build.rs");
    let root = match env::var_os("LEASEHOLD_ROOT").filter(|path| !path.is_empty()) {
        None => Vec::new(),
        Some(path) => {
            let path = PathBuf::from(path);
            println!("cargo::rerun-if-changed={}", path.display());
            match fs::read(&path) {
                Ok(root) if root.starts_with(b"format = \"leasehold/root/1\"\n") => root,
                Ok(_) => {
                    return println!(
                        "cargo::error=LEASEHOLD_ROOT names {}, which is not a root of Leasehold",
                        path.display()
                    );
                }
                Err(fault) => {
                    return println!(
                        "cargo::error=LEASEHOLD_ROOT names {}, which cannot be read: {fault}",
                        path.display()
                    );
                }
            }
        }
    };
    let Some(out) = env::var_os("OUT_DIR") else {
        return println!("cargo::error=cargo gives no OUT_DIR");
    };
    if let Err(fault) = fs::write(PathBuf::from(out).join("built-in.i3root"), root) {
        println!("cargo::error=the built-in root cannot be written: {fault}");
    }
}
