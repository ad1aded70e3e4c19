//! Files of this host as tar streams, and back.

mod pack;
mod unpack;

pub(crate) use pack::pack;
pub(crate) use unpack::unpack;
