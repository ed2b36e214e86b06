package daemon

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	"github.com/coreos/go-systemd/v22/journal"
)

// newLogger returns the daemon's logger: to the journal of systemd with
// priorities and fields when that takes stderr, else to w as text or JSON.
func newLogger(w io.Writer, format string, level *slog.LevelVar) *slog.Logger {
	if native, err := journal.StderrIsJournalStream(); err == nil && native {
		if j, err := openJournald(journalSocket); err == nil { // else its stream takes lines, too
			return slog.New(&journalHandler{journal: j, level: level})
		}
	}
	opts := &slog.HandlerOptions{Level: level}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

// journalHandler sends records to the journal of systemd, which notes the time and the
// process itself. Attributes become fields PICLOUD_NAME, and the message repeats them for
// people, on one line.
type journalHandler struct {
	journal *journald
	level   slog.Leveler
	fields  []entryField // of the logger, without their prefix PICLOUD_
	prefix  string       // of the group that is open
}

// Enabled implements slog.Handler.
func (h *journalHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level.Level() }

// Handle implements slog.Handler.
func (h *journalHandler) Handle(_ context.Context, r slog.Record) error {
	attrs := slices.Clone(h.fields)
	r.Attrs(func(a slog.Attr) bool {
		attrs = appendAttr(attrs, h.prefix, a)
		return true
	})
	var text strings.Builder
	text.WriteString(r.Message)
	fields := make([]entryField, 1, len(attrs)+1)
	for _, f := range attrs {
		fmt.Fprintf(&text, " %s=%q", f.name, f.value)
		fields = append(fields, entryField{"PICLOUD_" + f.name, f.value})
	}
	fields[0] = entryField{"MESSAGE", text.String()}
	h.journal.send(priority(r.Level), fields)
	return nil
}

// appendAttr appends an attribute, of a group each of its own.
func appendAttr(fields []entryField, prefix string, a slog.Attr) []entryField {
	v := a.Value.Resolve()
	if v.Kind() != slog.KindGroup {
		return append(fields, entryField{prefix + a.Key, v.String()})
	}
	if a.Key != "" {
		prefix += a.Key + "_"
	}
	for _, one := range v.Group() {
		fields = appendAttr(fields, prefix, one)
	}
	return fields
}

// WithAttrs implements slog.Handler.
func (h *journalHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	c.fields = slices.Clone(h.fields)
	for _, a := range attrs {
		c.fields = appendAttr(c.fields, h.prefix, a)
	}
	return &c
}

// WithGroup implements slog.Handler.
func (h *journalHandler) WithGroup(name string) slog.Handler {
	c := *h
	c.prefix += name + "_"
	return &c
}

func priority(l slog.Level) journal.Priority {
	switch {
	case l >= slog.LevelError:
		return journal.PriErr
	case l >= slog.LevelWarn:
		return journal.PriWarning
	case l >= slog.LevelInfo:
		return journal.PriInfo
	default:
		return journal.PriDebug
	}
}
