//! Tars of strangers: reading them, unpacking them below a root, and packing what is below one. Images and copies into and
//! out of containers share this. The driver does it itself where it has the rights; else the shim does, in a user namespace.

mod archive;
mod error;
mod names;
mod pack;
mod rights;
mod unpack;
mod whiteouts;

pub use archive::Archive;
pub use error::{Error, Result};
pub use pack::{Found, pack_layer, refuse_kernels};
pub use rights::Rights;
pub use unpack::{unpack_copy, unpack_layer};
