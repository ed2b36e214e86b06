package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
)

// The pages of a file of bbolt, read without bbolt, which believes what is on them: it
// follows a page to itself until there is no memory left, reads beyond the end of the
// file, and panics. The layout is that of internal/common/page.go, meta.go, bucket.go
// and inode.go, and of internal/freelist/shared.go, in version 1.5.0 of bbolt:
//
//	page     id u64, flags u16, count u16, further pages u32, then its elements
//	leaf     elements of flags, position, bytes of the key, bytes of the value, each u32
//	branch   elements of position u32, bytes of the key u32, page u64
//	meta     magic, version, bytes of a page, flags, each u32; page and sequence of the
//	         root bucket, freelist, number of pages, transaction, sum (FNV-1a), each u64
//	bucket   page u64, sequence u64, as the value of a leaf's element; page 0 means that
//	         a leaf follows in the value itself
//
// Positions are relative to their element. Keys and values stand one after the other
// behind the elements. The key of a branch's element is the first key of its page: so
// bbolt leaves it, and so it needs it when it writes.
const (
	pageHeader   = 16
	pageElement  = 16
	metaBytes    = 64
	bucketHeader = 16

	flagBranch   = 0x01
	flagLeaf     = 0x02
	flagMeta     = 0x04
	flagFreelist = 0x10

	boltMagic   = 0xED0CDAED
	boltVersion = 2
	noFreelist  = ^uint64(0)

	minPage, maxPage = 1 << 10, 64 << 10

	maxTreeDepth   = 24       // a file of maxStateBytes has less
	maxLeafBytes   = 16 << 20 // of a page with those that follow it: four rows, each as large as a group of the journal
	maxBranchBytes = 1 << 20  // four keys, generously
)

// pageError says which page of a file is damaged, and how.
type pageError struct {
	page uint64
	err  error
}

func (e *pageError) Error() string { return fmt.Sprintf("page %d: %v", e.page, e.err) }
func (e *pageError) Unwrap() error { return e.err }

// pageFile is a file of bbolt as the newest of its two meta pages describes it.
type pageFile struct {
	r        io.ReaderAt
	pageSize int64
	pages    uint64 // in use or free; the file has at least so many
	root     uint64 // page of the root bucket
	freelist uint64
	txid     uint64
}

// openPages reads the meta pages of a file of so many bytes. The one of the newest
// transaction whose sum is right counts, as it does to bbolt.
func openPages(r io.ReaderAt, size int64) (*pageFile, error) {
	f := &pageFile{r: r}
	found, err := f.meta(0, 0)
	if found && err == nil {
		_, err = f.meta(f.pageSize, f.pageSize)
	}
	for at := int64(minPage); !found && err == nil && at <= maxPage; at *= 2 {
		found, err = f.meta(at, at)
	}
	switch {
	case err != nil:
		return nil, err
	case !found:
		return nil, errors.New("neither of its two descriptions is whole")
	case f.pages < 4 || f.pages > uint64(maxStateBytes/f.pageSize):
		return nil, fmt.Errorf("it has %d pages", f.pages)
	case int64(f.pages)*f.pageSize > size: // #nosec G115 -- checked above
		return nil, fmt.Errorf("it has %d bytes of at least %d: the end is missing", size, int64(f.pages)*f.pageSize) // #nosec G115 -- as above
	}
	return f, nil
}

// meta takes over what a meta page says, if it is whole and newer than what is known.
// pageSize is what it has to say of that; 0: anything. One that cannot be read is not
// whole.
func (f *pageFile) meta(at, pageSize int64) (found bool, err error) {
	b := make([]byte, pageHeader+metaBytes)
	if _, err := f.r.ReadAt(b, at); isUnread(err) {
		return false, err
	} else if err != nil {
		return false, nil //nolint:nilerr // the other one may be whole
	}
	b = b[pageHeader:]
	sum := fnv.New64a()
	_, _ = sum.Write(b[:metaBytes-8]) // never fails
	size := int64(binary.LittleEndian.Uint32(b[8:]))
	if binary.LittleEndian.Uint32(b) != boltMagic || binary.LittleEndian.Uint32(b[4:]) != boltVersion ||
		binary.LittleEndian.Uint64(b[metaBytes-8:]) != sum.Sum64() {
		return false, nil
	}
	if size < minPage || size > maxPage || size&(size-1) != 0 || (pageSize > 0 && size != pageSize) {
		return false, fmt.Errorf("it has pages of %d bytes", size)
	}
	if txid := binary.LittleEndian.Uint64(b[48:]); f.pageSize == 0 || txid > f.txid {
		f.pageSize, f.txid = size, txid
		f.root, f.freelist, f.pages = binary.LittleEndian.Uint64(b[16:]), binary.LittleEndian.Uint64(b[32:]), binary.LittleEndian.Uint64(b[40:])
	}
	return true, nil
}

// pageWalk reads the trees of a file, each page once. It takes a bit for each page,
// maxLeafBytes, and maxBranchBytes for each level of memory, at most.
type pageWalk struct {
	f *pageFile

	// row is called with each row of each bucket, buckets and rows in the order of their
	// keys. It must not keep the bytes. An error ends the walk.
	row func(bucket string, key, value []byte) error
	// skip reports whether rows from first to below next need not be read; nil: all are.
	// With it the freelist is not looked at.
	skip func(first, next []byte) bool
	// fault is told what is wrong. An error ends the walk; nil: the walk goes on, and gives
	// what is legible of a damaged page, whatever its order.
	fault func(err error) error

	seen   []uint64 // a bit for each page
	bucket string
	bufs   [maxTreeDepth + 1][]byte // a page of each level
	large  []byte                   // a leaf with pages that follow it
}

// walk reads the file from its root.
func (w *pageWalk) walk() error {
	w.seen = make([]uint64, (w.f.pages+63)/64)
	w.take(0)
	w.take(1)
	type entry struct {
		name  string
		value []byte
	}
	var buckets []entry
	rows := w.row
	w.row = func(_ string, key, value []byte) error {
		buckets = append(buckets, entry{string(key), bytes.Clone(value)})
		return nil
	}
	err := w.tree(w.f.root, 0, nil, nil)
	w.row = rows
	if err != nil {
		return err
	}
	for _, b := range buckets {
		w.bucket = b.name
		if len(b.value) < bucketHeader {
			if err := w.fault(fmt.Errorf("bucket %q has no beginning", b.name)); err != nil {
				return err
			}
			continue
		}
		if root := binary.LittleEndian.Uint64(b.value); root != 0 {
			err = w.tree(root, 1, nil, nil)
		} else {
			err = w.inline(b.value[bucketHeader:])
		}
		if err != nil {
			return err
		}
	}
	if w.skip != nil || w.f.freelist == noFreelist {
		return nil
	}
	return w.free()
}

// take marks a page as read. It returns false when it was before, or is not in the file.
func (w *pageWalk) take(id uint64) bool {
	if id >= w.f.pages || w.seen[id/64]&(1<<(id%64)) != 0 {
		return false
	}
	w.seen[id/64] |= 1 << (id % 64)
	return true
}

// page is a page in memory, with those that follow it.
type page struct {
	id    uint64
	flags uint16
	count int
	bytes []byte
}

// read reads a page into the buffer of its depth. A page that is returned can be looked
// at even when there is an error.
func (w *pageWalk) read(id uint64, depth int) (p page, err error) {
	if depth > maxTreeDepth {
		return p, errors.New("the tree is too deep")
	}
	if !w.take(id) {
		return p, errors.New("it is in use twice, or not in the file")
	}
	size := int(w.f.pageSize)
	if len(w.bufs[depth]) < size {
		w.bufs[depth] = make([]byte, size)
	}
	b := w.bufs[depth][:size]
	at := int64(id) * w.f.pageSize // #nosec G115 -- take has checked it
	if _, err := w.f.r.ReadAt(b, at); err != nil {
		return p, err
	}
	p = page{id: id, flags: binary.LittleEndian.Uint16(b[8:]), count: int(binary.LittleEndian.Uint16(b[10:])), bytes: b}
	if named := binary.LittleEndian.Uint64(b); named != id {
		return p, fmt.Errorf("it says that it is page %d", named)
	}
	more := uint64(binary.LittleEndian.Uint32(b[12:]))
	if more == 0 {
		return p, nil
	}
	buf, limit := &w.large, int64(maxLeafBytes)
	if p.flags == flagBranch {
		buf, limit = &w.bufs[depth], maxBranchBytes
	}
	if int64(1+more)*w.f.pageSize > limit { // #nosec G115 -- below 2^33
		return p, fmt.Errorf("%d more pages belong to it", more)
	}
	for next := id + 1; next <= id+more; next++ {
		if !w.take(next) {
			return p, fmt.Errorf("page %d belongs to it and is in use twice, or not in the file", next)
		}
	}
	all := size * int(1+more) // #nosec G115 -- checked above
	if len(*buf) < all {
		*buf = make([]byte, all)
	}
	b = (*buf)[:all]
	if _, err := w.f.r.ReadAt(b, at); err != nil {
		return page{}, err
	}
	p.bytes = b
	return p, nil
}

// tree reads a page and what is below it. Its keys begin with first and are below next;
// nil: any.
func (w *pageWalk) tree(id uint64, depth int, first, next []byte) error {
	p, err := w.read(id, depth)
	if err == nil {
		err = p.check(first, next)
	}
	if err == nil && (p.flags == flagFreelist || p.flags == flagMeta) {
		err = fmt.Errorf("it is in a tree, with flags %#x", p.flags)
	}
	damaged := err != nil
	if damaged {
		if isUnread(err) {
			return err
		}
		if err := w.fault(&pageError{id, err}); err != nil {
			return err
		}
	}
	switch {
	case p.bytes == nil: // it could not be read
		return nil
	case p.flags == flagLeaf:
		return w.leaf(&p)
	case p.flags == flagBranch:
		return w.branch(&p, depth, next, damaged)
	}
	return nil
}

// inline reads a bucket that is in the value of its parent's element.
func (w *pageWalk) inline(b []byte) error {
	if len(b) < pageHeader {
		return w.fault(fmt.Errorf("bucket %q is cut off", w.bucket))
	}
	p := page{flags: binary.LittleEndian.Uint16(b[8:]), count: int(binary.LittleEndian.Uint16(b[10:])), bytes: b}
	err := p.check(nil, nil)
	if err == nil && p.flags != flagLeaf {
		err = fmt.Errorf("it has flags %#x", p.flags)
	}
	if err != nil {
		if err := w.fault(fmt.Errorf("bucket %q: %w", w.bucket, err)); err != nil {
			return err
		}
	}
	return w.leaf(&p)
}

func (w *pageWalk) leaf(p *page) error {
	for i := range p.count {
		e, ok := p.element(i)
		if !ok {
			continue // the fault was told
		}
		if (e.flags == 0) != (w.bucket != "") {
			if err := w.fault(&pageError{p.id, fmt.Errorf("element %d has flags %#x", i, e.flags)}); err != nil {
				return err
			}
			continue
		}
		if err := w.row(w.bucket, e.key, e.value); err != nil {
			return err
		}
	}
	return nil
}

func (w *pageWalk) branch(p *page, depth int, next []byte, damaged bool) error {
	for i := range p.count {
		e, ok := p.element(i)
		if damaged {
			if id, ok := p.child(i); ok {
				if err := w.tree(id, depth+1, nil, nil); err != nil {
					return err
				}
			}
			continue
		}
		below := next
		if i+1 < p.count {
			after, _ := p.element(i + 1)
			below = after.key
		}
		if !ok || (w.skip != nil && w.bucket != "" && w.skip(e.key, below)) {
			continue
		}
		if err := w.tree(e.page, depth+1, e.key, below); err != nil {
			return err
		}
	}
	return nil
}

// element is what a page has of one key.
type element struct {
	flags      uint32 // 1: the value is a bucket
	page       uint64
	key, value []byte
}

// element returns an element if it is within the page.
func (p *page) element(i int) (e element, ok bool) {
	at := pageHeader + i*pageElement
	if at+pageElement > len(p.bytes) {
		return e, false
	}
	b := p.bytes[at:]
	var pos, keySize, valueSize uint64
	if p.flags == flagLeaf {
		e.flags = binary.LittleEndian.Uint32(b)
		pos, keySize, valueSize = uint64(binary.LittleEndian.Uint32(b[4:])), uint64(binary.LittleEndian.Uint32(b[8:])), uint64(binary.LittleEndian.Uint32(b[12:]))
	} else {
		pos, keySize, e.page = uint64(binary.LittleEndian.Uint32(b)), uint64(binary.LittleEndian.Uint32(b[4:])), binary.LittleEndian.Uint64(b[8:])
	}
	if keySize == 0 || pos+keySize+valueSize > uint64(len(b)) {
		return e, false
	}
	e.key, e.value = b[pos:pos+keySize], b[pos+keySize:pos+keySize+valueSize]
	return e, true
}

// child returns the page of an element of a branch, whatever its key.
func (p *page) child(i int) (id uint64, ok bool) {
	at := pageHeader + i*pageElement
	if at+pageElement > len(p.bytes) {
		return 0, false
	}
	return binary.LittleEndian.Uint64(p.bytes[at+8:]), true
}

// check returns an error unless the elements of a page stand where bbolt puts them, and
// their keys rise from first to below next. Pages that are no part of a tree pass.
func (p *page) check(first, next []byte) error {
	if p.flags != flagLeaf && p.flags != flagBranch {
		if p.flags == flagFreelist || p.flags == flagMeta {
			return nil
		}
		return fmt.Errorf("it has flags %#x", p.flags)
	}
	at := pageHeader + p.count*pageElement // where the next key has to be
	var before []byte
	for i := range p.count {
		e, ok := p.element(i)
		if !ok || p.position(i) != at {
			return fmt.Errorf("element %d is not where it has to be", i)
		}
		if e.flags > 1 {
			return fmt.Errorf("element %d has flags %#x", i, e.flags)
		}
		if i > 0 && bytes.Compare(before, e.key) >= 0 {
			return fmt.Errorf("element %d is out of order", i)
		}
		if i == 0 && first != nil && !bytes.Equal(first, e.key) {
			return errors.New("it does not begin with the key that leads to it")
		}
		at += len(e.key) + len(e.value)
		before = e.key
	}
	switch {
	case p.count == 0 && (first != nil || p.flags == flagBranch):
		return errors.New("it is empty")
	case at > len(p.bytes):
		return errors.New("its elements do not fit")
	case next != nil && bytes.Compare(before, next) >= 0:
		return errors.New("it has keys of the page after it")
	}
	return nil
}

// position returns where in the page the key of an element is.
func (p *page) position(i int) int {
	at := pageHeader + i*pageElement
	field := at
	if p.flags == flagLeaf {
		field += 4
	}
	return at + int(binary.LittleEndian.Uint32(p.bytes[field:]))
}

// free reads the freelist, and holds against each other what is in use and what is free.
func (w *pageWalk) free() error {
	p, err := w.read(w.f.freelist, 0)
	if err == nil {
		err = w.freeIDs(&p)
	}
	if err != nil && !isUnread(err) {
		err = w.fault(&pageError{w.f.freelist, fmt.Errorf("list of free pages: %w", err)})
	}
	if err != nil {
		return err
	}
	for id := range w.f.pages {
		if w.take(id) {
			return w.fault(&pageError{id, errors.New("it is neither in use nor free")})
		}
	}
	return nil
}

func (w *pageWalk) freeIDs(p *page) error {
	if p.flags != flagFreelist {
		return fmt.Errorf("it has flags %#x", p.flags)
	}
	b, n := p.bytes[pageHeader:], uint64(p.count) // #nosec G115 -- 16 bits
	if n == 0xFFFF && len(b) >= 8 {               // there are more: their number comes first
		n, b = binary.LittleEndian.Uint64(b), b[8:]
	}
	if n > uint64(len(b)/8) {
		return fmt.Errorf("it has no room for %d pages", n)
	}
	for i := range n {
		if id := binary.LittleEndian.Uint64(b[8*i:]); !w.take(id) {
			return fmt.Errorf("page %d is free and in use, or not in the file", id)
		}
	}
	return nil
}
