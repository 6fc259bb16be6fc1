mod clean;
mod fixtures;
mod inject;
mod input;
mod property;
