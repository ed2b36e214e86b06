package sdk

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"

	"github.com/picloud/picloud"
)

// entry is an entry as the JavaScript side reads it: bytes are base64.
type entry struct {
	Key       string          `json:"key"`
	Value     json.RawMessage `json:"value"`
	Binary    bool            `json:"binary,omitempty"`
	Version   uint64          `json:"version"`
	UpdatedAt string          `json:"updated_at"`
	ExpiresAt string          `json:"expires_at,omitempty"`
}

func entryOf(e *picloud.Entry) (entry, error) {
	out := entry{Key: e.Key, Value: e.Value, Binary: e.Binary, Version: e.Version, UpdatedAt: e.UpdatedAt.Format(picloud.TimeLayout)}
	if !e.ExpiresAt.IsZero() {
		out.ExpiresAt = e.ExpiresAt.Format(picloud.TimeLayout)
	}
	if !e.Binary {
		return out, nil
	}
	var err error
	out.Value, err = json.Marshal(e.Value)
	return out, err //nolint:wrapcheck // bytes always fit
}

func (h *Host) kvGet(ctx context.Context, c *call) (any, error) {
	var key string
	if err := c.read(&key); err != nil {
		return nil, err
	}
	e, err := h.cfg.Store.Entry(c.app, key)
	if errors.Is(err, picloud.ErrKVNotFound) {
		return nil, nil //nolint:nilnil // null is the answer
	}
	if err != nil {
		return nil, err
	}
	if err := c.answersBytes(ctx, len(e.Value)); err != nil {
		return nil, err
	}
	return entryOf(&e)
}

func (h *Host) kvSet(ctx context.Context, c *call) (any, error) {
	var o struct {
		TTL     float64 `json:"ttl"`
		Version uint64  `json:"version"`
		Create  bool    `json:"create"`
		Binary  bool    `json:"binary"`
	}
	in := picloud.EntryChange{App: c.app, Cause: c.cause}
	var value json.RawMessage
	if err := c.read(&in.Key, &value, &o); err != nil {
		return nil, err
	}
	var err error
	if in.If, err = precondition(o.Version, o.Create); err != nil {
		return nil, err
	}
	if in.TTL, err = seconds(o.TTL); err != nil {
		return nil, err
	}
	in.Value, in.Binary = value, o.Binary
	if o.Binary {
		if in.Value, err = fromBase64(value); err != nil {
			return nil, err
		}
	}
	e, err := h.cfg.Store.SetEntry(ctx, in)
	return e.Version, err
}

func (h *Host) kvDelete(ctx context.Context, c *call) (any, error) {
	var key string
	var o struct {
		Version uint64 `json:"version"`
	}
	if err := c.read(&key, &o); err != nil {
		return nil, err
	}
	err := h.cfg.Store.DeleteEntry(ctx, picloud.Deletion{App: c.app, Name: key, If: picloud.Precondition{Version: o.Version}, Cause: c.cause})
	if errors.Is(err, picloud.ErrKVNotFound) {
		return false, nil
	}
	return true, err
}

func (h *Host) kvIncrement(ctx context.Context, c *call) (any, error) {
	var o struct {
		TTL float64 `json:"ttl"`
	}
	in := picloud.EntryIncrement{App: c.app, By: 1, Cause: c.cause}
	if err := c.read(&in.Key, &in.By, &o); err != nil {
		return nil, err
	}
	var err error
	if in.TTL, err = seconds(o.TTL); err != nil {
		return nil, err
	}
	e, err := h.cfg.Store.IncrementEntry(ctx, in)
	return json.RawMessage(e.Value), err
}

func (h *Host) kvList(ctx context.Context, c *call) (any, error) {
	var o page
	if err := c.read(&o); err != nil {
		return nil, err
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	found, err := h.cfg.Store.Entries(picloud.EntryList{App: c.app, Prefix: o.Prefix, After: o.After, Limit: o.Limit})
	if err != nil {
		return nil, err
	}
	size := 0
	for i := range found.Entries {
		size += len(found.Entries[i].Value)
	}
	if err := c.answersBytes(ctx, size); err != nil {
		return nil, err
	}
	list := make([]entry, len(found.Entries))
	for i := range found.Entries {
		if list[i], err = entryOf(&found.Entries[i]); err != nil {
			return nil, err
		}
	}
	return map[string]any{"entries": list, "next": found.Next}, nil
}

// fromBase64 reads bytes as the JavaScript side sends them.
func fromBase64(text json.RawMessage) ([]byte, error) {
	var s string
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, errArgument.Detailf("bytes are expected")
	}
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return nil, errArgument.Detailf("bytes are expected")
	}
	return b, nil
}
