//! Tars of strangers: reading them, unpacking them below a root, and packing what is below one. Images and copies into and
//! out of containers share this.

pub(crate) mod archive;
mod names;
pub(crate) mod pack;
mod stream;
pub(crate) mod unpack;
pub(crate) mod whiteouts;

pub(crate) use archive::Archive;
pub(crate) use stream::StreamReader;
pub(crate) use unpack::{Limits, unpack_copy, unpack_layer};
