// Package journal is an append-only log of records in segment files: append,
// fsync, recover, read in order.
//
// It is the truth of a node. Whatever was synced is there after any crash, or
// its loss is detected, counted and told; a record is never changed, and never
// skipped in silence. The package knows nothing of what records mean, and keeps
// no state beside the files and an index that follows from them.
//
// # Files
//
// A segment is named for the LSN of its first record, 20 digits and ".log", and
// is preallocated, so that an fdatasync has no metadata to write. Numbers are
// little endian, checksums are CRC-32C (Castagnoli, RFC 3720).
//
//	0      header, and once more at 2048: "PICLOUDJ" · version u32 · 0 u32 · journal id u64 · base LSN u64
//	       · created i64 (µs) · size u64 · 12 zero bytes · crc32c of the 60 bytes before
//	4096   records, one behind the other
//	…      zeros, or stale bytes of an earlier life of a recycled file
//	end    footer: the index of the segment, when it is complete; before that, 48 bytes
//	       that say how far records were durable (see markDurable)
//
// A record is never rewritten:
//
//	length u32 (of what follows the checksum) · crc32c u32 (of that, begun with the
//	journal id) · LSN u64 · Seq u64 · At i64 · Kind u8 · flags u8 · key length u16
//	· unsynced u32 · key · body
//
// Flags: 1, the next record belongs to the same unit; 2, so does the one before.
// A unit survives as a whole or not at all. Unsynced is how many records before
// this one were not synced when it was written: it tells a torn tail, which was
// never acknowledged, from damage to what was.
//
// The footer holds per key its entries (differences of LSN, offset, Seq, At, and
// the size of the body, as varints), a directory of the keys with their
// summaries, and a trailer of 48 bytes: "PICLOUDF" · base u64 · last LSN u64 ·
// end of the records u64 · length of the footer u32 · length of the directory
// u32 · crc32c of the footer before u32 · version u32, 0 today. A missing or damaged
// footer costs a scan, never a record.
//
// The file end says how far LSNs have been given (see end.go). They are reserved there
// before they are: so a start knows a bound, whatever became of the records. The caller
// skips up to it, by a record of KindSkipped, unless the end is proven.
//
// A newer version of any is refused, by Peek before anything was changed.
//
// To make room, records can be given up in the middle: Thin writes what stays of
// a segment to a file that takes its place, with a record of KindThinned where
// others were.
//
// # Recovery
//
// Segments in order must join without a gap. In each, records are accepted while
// checksum and LSN are right. What follows in the newest segment is a torn tail
// if no later record there says that the bad one had been synced: it is cut, and
// complete records behind it, which new ones could otherwise join up with, are
// wiped. A newest segment that ends before what is known to have been durable, that is
// shorter than it was made, or that is missing, is a loss as well. What is no file is moved aside unopened.
// Everything else is damage: the file is kept in damaged/, what can be
// decoded moves to a fresh file with a record of KindLost in each gap, and the
// loss is reported.
package journal
