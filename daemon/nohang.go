//go:build !hang

package daemon

// hangable returns f.
func hangable[T any](_ string, f func() T) func() T { return f }
