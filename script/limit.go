//go:build !race

package script

import "math/bits"

// dataLimit bounds the private memory of a worker, as the last resort against an
// engine that does not keep its own limit. On 64 bits a Go program claims more
// than 100 MiB of addresses without touching them.
const dataLimit = (192 * (bits.UintSize / 64) << 20) + (128 * (1 - bits.UintSize/64) << 20)
