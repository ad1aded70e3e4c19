//! The container driver contract as executable cases, with a runner and reports, for any driver.
