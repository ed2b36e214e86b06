package store

// Floors returns how many floors are kept.
func (s *Store) Floors() int { return s.catalog.Load().floors().Len() }

// IndexRows counts the rows of all indexes of documents.
func (s *Store) IndexRows() int { return s.tables.count(tableDocIndex, "", 1<<30) }
