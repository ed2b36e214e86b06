package store

// Floors returns how many floors are kept.
func (s *Store) Floors() int { return s.catalog.Load().floors.Len() }
