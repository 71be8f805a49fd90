//! The library, loaded and driven as packetdrill does it: through the table of
//! functions, with a second thread for calls that block.

mod blocking;
mod calls;
mod library;
mod packets;
mod tool;
