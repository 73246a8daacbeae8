package integrity

// Difference is a stretch of keys in which a table is not what it was.
type Difference struct {
	From   int64 `json:"from"` // the lowest key of a row in it, before or after
	To     int64 `json:"to"`
	Before int64 `json:"rows_before"`
	After  int64 `json:"rows_after"`
	// Keys are those of rows that were written since, at most a few: a change
	// past the server, on the disk, leaves none.
	Keys []int64 `json:"keys"`
}

// Compare lists where two readings of a table differ. Ranges beside each other
// that both differ are one difference.
func Compare(before, after Table) []Difference {
	var differences []Difference
	last := int64(0) // the number of the range that ended the last difference
	add := func(number int64, before, after Range) {
		from, to := before.From, before.To
		switch {
		case before.Rows == 0:
			from, to = after.From, after.To
		case after.Rows > 0:
			from, to = min(from, after.From), max(to, after.To)
		}
		if n := len(differences); n > 0 && number == last+1 {
			d := &differences[n-1]
			d.To, d.Before, d.After = to, d.Before+before.Rows, d.After+after.Rows
		} else {
			differences = append(differences, Difference{From: from, To: to, Before: before.Rows, After: after.Rows, Keys: []int64{}})
		}
		last = number
	}
	old, fresh := before.Ranges, after.Ranges
	for len(old) > 0 || len(fresh) > 0 {
		switch {
		case len(fresh) == 0 || len(old) > 0 && old[0].Number < fresh[0].Number:
			add(old[0].Number, old[0], Range{})
			old = old[1:]
		case len(old) == 0 || fresh[0].Number < old[0].Number:
			add(fresh[0].Number, Range{}, fresh[0])
			fresh = fresh[1:]
		default:
			if old[0].Rows != fresh[0].Rows || old[0].Sum != fresh[0].Sum {
				add(old[0].Number, old[0], fresh[0])
			}
			old, fresh = old[1:], fresh[1:]
		}
	}
	return differences
}
