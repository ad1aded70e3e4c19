//! Packing and unpacking what belongs to the ids of a user namespace: the driver, who is not root, may not.

use std::fs::File;
use std::io::{self, BufWriter};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::ExitCode;

use driver_local_shim::rootfs::Root;
use driver_local_shim::tarball::{
    Archive, Error, Found, Rights, pack_layer, refuse_kernels, unpack_copy, unpack_layer,
};
use driver_local_shim::{FileTask, FileWork, LAYER_ROOT, Report, Stage};

use crate::failure::{At, Failure, Result};
use crate::fork_server::receive;
use crate::run::tell;
use crate::userns;

/// The pieces in which a tar is written.
const PIECE: usize = 64 << 10;

/// Does the work, and tells.
pub(crate) fn work(task: &FileTask, driver: &OwnedFd) -> ExitCode {
    let (code, report) = match done(task, driver) {
        Ok(bytes) => (ExitCode::SUCCESS, Report::Worked { bytes }),
        Err(failure) => (ExitCode::FAILURE, failure.into()),
    };
    // A driver that is gone does not want to know.
    let _ = tell(driver, &report);
    code
}

fn done(task: &FileTask, driver: &OwnedFd) -> Result<u64> {
    let receive = || receive(driver).at(Stage::Prepare, || "a descriptor");
    let root = Root::from(receive()?);
    let tar = File::from(receive()?);
    userns::enter(&task.user)?;
    let begin = || tell(driver, &Report::Ready).at(Stage::Prepare, || "the driver is gone");
    let rights = Rights::Namespace;
    match &task.work {
        FileWork::UnpackLayer(limits) => {
            let layer = Root::from(root.dir(Path::new(LAYER_ROOT)).map_err(refused)?);
            begin()?;
            let mut archive = Archive::new(tar);
            let bytes = unpack_layer(&mut archive, &layer, limits, rights).map_err(told)?;
            // What is behind the entries is read as well: the driver takes the digest of all.
            archive.finish().map_err(told)?;
            Ok(bytes)
        }
        FileWork::UnpackCopy(directory) => {
            let directory = Path::new(directory);
            root.dir(directory).and_then(refuse_kernels).map_err(refused)?;
            begin()?;
            unpack_copy(&mut Archive::perhaps_empty(tar), &root, directory, rights).map_err(told)?;
            Ok(0)
        }
        FileWork::PackLayer => {
            begin()?;
            pack_layer(&root, BufWriter::with_capacity(PIECE, tar), rights).map_err(refused)?;
            Ok(0)
        }
        FileWork::PackCopy(path) => {
            let found = Found::look(&root, Path::new(path)).map_err(refused)?;
            begin()?;
            found
                .pack(BufWriter::with_capacity(PIECE, tar))
                .map_err(refused)?;
            Ok(0)
        }
    }
}

fn told(error: Error) -> Failure {
    Failure {
        errno: error.errno(),
        ..Failure::new(Stage::Root, error.to_string())
    }
}

fn refused(error: io::Error) -> Failure {
    Failure {
        errno: error.raw_os_error(),
        ..Failure::new(Stage::Root, error.to_string())
    }
}
