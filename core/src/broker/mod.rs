//! The broker: partitions, their replicas, and the cluster as it believes it to be.

pub mod boot;
pub mod config;
pub mod controller;
pub mod znodes;
