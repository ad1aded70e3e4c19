//! The program on a real engine. Without one each test says that it skips, unless `DRIVER_REQUIRE_DOCKER=1`.

mod engine;
mod files;
mod processes;
mod terminal;
