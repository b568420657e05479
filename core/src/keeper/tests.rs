//! A small ensemble on obedient disks and links.
