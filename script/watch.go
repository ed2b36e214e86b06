package script

import (
	"errors"
	"reflect"
	"sync"
	"unsafe"

	"modernc.org/libc"
	lib "modernc.org/libquickjs"
	"modernc.org/quickjs"
)

// watch keeps what happens in an engine that package quickjs does not pass on: promises
// that are rejected while they have no handler, and allocations that fail at the limit
// of memory. It belongs to the goroutine that uses the engine.
type watch struct {
	rt, state uintptr // of the engine: JSRuntime, JSMallocState
	tls       *libc.TLS
	ctx       uintptr

	starved   bool                            // an allocation has failed
	rejected  int                             // rejections so far
	unhandled map[lib.TJSValue]rejectedReason // by the promise; both are references that keep them alive
}

type rejectedReason struct {
	value lib.TJSValue
	order int
}

// The engine calls back with addresses of its own.
var watches = struct {
	sync.Mutex

	byAddress map[uintptr]*watch
}{byAddress: make(map[uintptr]*watch)}

func watchAt(address uintptr) *watch {
	watches.Lock()
	defer watches.Unlock()
	return watches.byAddress[address]
}

var errForeignEngine = errors.New("this version of modernc.org/quickjs is built differently: its runtime was not found")

// newWatch watches an engine that has run nothing yet. The caller calls close before
// that of the engine.
func newWatch(vm *quickjs.VM) (*watch, error) {
	state := reflect.ValueOf(vm).Elem().FieldByName("runtime")
	if state.Kind() != reflect.Pointer || state.IsNil() {
		return nil, errForeignEngine
	}
	address, tls, ctx := state.Elem().FieldByName("cRuntime"), state.Elem().FieldByName("tls"), reflect.ValueOf(vm).Elem().FieldByName("cContext")
	if address.Kind() != reflect.Uintptr || ctx.Kind() != reflect.Uintptr || !tls.IsValid() || tls.Type() != reflect.TypeFor[*libc.TLS]() {
		return nil, errForeignEngine
	}
	w := &watch{rt: uintptr(address.Uint()), tls: (*libc.TLS)(tls.UnsafePointer()), ctx: uintptr(ctx.Uint()), unhandled: make(map[lib.TJSValue]rejectedReason)}
	rt := *(**lib.TJSRuntime)(unsafe.Pointer(&w.rt))                 // #nosec G103 -- memory of the engine, by its own types
	w.state = uintptr(unsafe.Pointer(&rt.Fmalloc_ctx.Fmalloc_state)) // #nosec G103 -- memory of the engine, by its own types
	watches.Lock()
	watches.byAddress[w.rt], watches.byAddress[w.state] = w, w
	watches.Unlock()
	f := &rt.Fmalloc_ctx.Fmf
	theirs.Do(func() { theirMalloc, theirRealloc = mallocFunc(f.Fjs_malloc), reallocFunc(f.Fjs_realloc) })
	f.Fjs_malloc, f.Fjs_realloc = addressOf(watchedMalloc), addressOf(watchedRealloc)
	lib.XJS_SetHostPromiseRejectionTracker(w.tls, w.rt, addressOf(trackRejection), w.rt)
	return w, nil
}

// close lets go of what is kept.
func (w *watch) close() {
	lib.XJS_SetHostPromiseRejectionTracker(w.tls, w.rt, 0, 0)
	w.forget()
	watches.Lock()
	defer watches.Unlock()
	delete(watches.byAddress, w.rt)
	delete(watches.byAddress, w.state)
}

// forget takes all rejections for handled.
func (w *watch) forget() {
	for promise, reason := range w.unhandled {
		w.drop(promise, reason.value)
	}
}

func (w *watch) drop(promise, reason lib.TJSValue) {
	delete(w.unhandled, promise)
	lib.XFreeValue(w.tls, w.ctx, promise)
	lib.XFreeValue(w.tls, w.ctx, reason)
}

// first calls fn with the reason of the earliest rejection that has no handler, which
// then counts as handled. The value is valid until fn returns. like is any value of the engine.
func (w *watch) first(like quickjs.Value, fn func(reason quickjs.Value) error) error {
	var promise lib.TJSValue
	first := rejectedReason{order: w.rejected + 1}
	for p, r := range w.unhandled {
		if r.order < first.order {
			promise, first = p, r
		}
	}
	v := like.Dup()
	slot := (*lib.TJSValue)(unsafe.Pointer(reflect.ValueOf(&v).Elem().FieldByName("v").UnsafeAddr())) // #nosec G103 -- memory of the engine, by its own types
	lib.XFreeValue(w.tls, w.ctx, *slot)
	*slot = first.value
	delete(w.unhandled, promise)
	lib.XFreeValue(w.tls, w.ctx, promise)
	defer v.Free()
	return fn(v)
}

// trackRejection is called by an engine when a promise is rejected that has no handler,
// and again when such a promise gets one.
func trackRejection(tls *libc.TLS, ctx uintptr, promise, reason lib.TJSValue, handled int32, rt uintptr) {
	w := watchAt(rt)
	if handled != 0 {
		if r, ok := w.unhandled[promise]; ok {
			w.drop(promise, r.value)
		}
		return
	}
	w.rejected++
	w.unhandled[lib.XDupValue(tls, ctx, promise)] = rejectedReason{value: lib.XDupValue(tls, ctx, reason), order: w.rejected}
}

// Functions of the engine by their address.
type (
	malloc  = func(tls *libc.TLS, state uintptr, size lib.Tsize_t) uintptr
	realloc = func(tls *libc.TLS, state, block uintptr, size lib.Tsize_t) uintptr
)

// The allocator of the engine, the same for all.
var (
	theirs       sync.Once
	theirMalloc  malloc
	theirRealloc realloc
)

func mallocFunc(address uintptr) malloc {
	return *(*malloc)(unsafe.Pointer(&struct{ uintptr }{address})) // #nosec G103 -- memory of the engine, by its own types
}

func reallocFunc(address uintptr) realloc {
	return *(*realloc)(unsafe.Pointer(&struct{ uintptr }{address})) // #nosec G103 -- memory of the engine, by its own types
}

// addressOf is how the engine calls a function that is no closure.
func addressOf(fn any) uintptr {
	return (*[2]uintptr)(unsafe.Pointer(&fn))[1] // #nosec G103 -- as above
}

func watchedMalloc(tls *libc.TLS, state uintptr, size lib.Tsize_t) uintptr {
	block := theirMalloc(tls, state, size)
	if block == 0 {
		starve(state)
	}
	return block
}

func watchedRealloc(tls *libc.TLS, state, block uintptr, size lib.Tsize_t) uintptr {
	moved := theirRealloc(tls, state, block, size)
	if moved == 0 && size > 0 {
		starve(state)
	}
	return moved
}

// starve notes that an allocation has failed, unless the engine is being closed.
func starve(state uintptr) {
	if w := watchAt(state); w != nil {
		w.starved = true
	}
}
