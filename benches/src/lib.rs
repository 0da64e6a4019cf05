//! Benchmarks of Twincast, each beside its roof: `cargo bench -p twincast-benches --bench NAME`.
//!
//! - `tile`: transpose, select words, and the gather that fills slabs.
//! - `protocol`: making and opening codewords and confirmations, single and in batches.
//! - `paper`: the same for the paper's profiles and Algorithm 4, and `num-bigint` against `crypto-bigint`.
//! - `keys`: the parts of a key exchange, the keys of pairs, and sealing.
//! - `answer`: the answer kernel against a naive XOR with the same instructions, and over threads.
//! - `receive`: a client reading both servers' streams, against the bare copy of the same bytes.
//! - `channel`: egress over private channels against plain ones; records, handshakes, signed uploads.
//! - `egress`: the egress engine over loopback connections against plain `send` of ready buffers. It, `receive` and
//!   `channel` measure two things in turn and CPU per byte, which a criterion benchmark does not, so they are
//!   programs.
#![forbid(unsafe_code)]
