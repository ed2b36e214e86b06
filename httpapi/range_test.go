package httpapi

import "testing"

// Whatever is asked for: a part that is answered lies in the file, and what is beyond
// it is told to be.
func FuzzRange(f *testing.F) {
	for _, text := range []string{"bytes=0-0", "bytes=-5", "bytes=5-", "bytes=9-3", "bytes=0-1,4-5", "bytes=--1", "bytes= 1-2", "bytes=18446744073709551615-", "lines=1-2"} {
		f.Add(text, int64(10))
	}
	f.Fuzz(func(t *testing.T, text string, size int64) {
		size = max(size, 0)
		part, kind := parseRange(text, size)
		if kind == rangeOK && (part.first < 0 || part.length <= 0 || part.first > size-part.length) {
			t.Errorf("%q of %d bytes: %+v", text, size, part)
		}
	})
}
