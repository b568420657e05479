//! Wire formats against the outside: Apache's recorded bytes, another implementation, and bytes made to hurt.

mod allocations;
mod files;
mod hostile;
mod keeper;
mod oracle;
mod refused;
mod small;
mod vectors;
