package db

// tend does what must be done from time to time, until the store is closed.
func (s *Store) tend() {
	<-s.closing
}

// RetainRule says how much is kept of the topics that match.
type RetainRule struct{}
