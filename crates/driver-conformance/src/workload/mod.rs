//! The workload program and the image around it.

mod build;
mod image;

pub(crate) use build::{library, write};
pub(crate) use image::{PROGRAM, hostile_archive, image_archive, import_options};
