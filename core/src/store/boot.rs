//! From a disk to everything a node needs to start: what is there, what was cut and why, or why it cannot start.
//!
//! Two rules decide about damage. What a broker had not synced may be torn: its log is cut at the first bad batch and
//! the ISR makes up for it. A keeper has promised what it acknowledged: its journal may be cut only where nothing good
//! follows, for a power loss tears the end and never the middle; anything else is refused, with file and position.

mod broker;
mod keeper;
