package keel

import "context"

// checkStep is how many bytes a verification or salvage reads between two looks at its context: some milliseconds.
const checkStep = 1 << 20

// Verify verifies the database while it is in use. Everything that the newest checkpoint reaches is read from the file, past
// the cache, and compared with checksums, order, key ranges and counts; what was committed since lies in the log, which Open
// has checked. Damage is no error: the database is sound when the report says 0 Problems, and ProblemTexts tells the first of
// them. progress, if it is not nil, is given a report after each step; ctx is looked at between steps. A snapshot is held
// meanwhile.
func (db *DB) Verify(ctx context.Context, progress func(CheckReport)) (CheckReport, error) {
	if err := ctx.Err(); err != nil {
		return CheckReport{}, err
	}
	c := newCall()
	status := rawVerifyBegin(db.handle, &c.handle, &c.err)
	handle := c.handle
	if err := c.done(status); err != nil {
		return CheckReport{}, err
	}
	return runCheck(ctx, handle, progress)
}

// Salvage copies what is sound of the database at path into a new one at newPath. The old one may be damaged so much that it
// cannot be opened; it must not be open, and is not written to. Keyspaces keep their names; one whose name is lost is called
// lost-keyspace- and its number. Damage is no error: the report counts what was copied (Rows, LogCommits) and what was lost
// (Problems, LostRows and so on). progress, if it is not nil, is given a report after each step; ctx is looked at between
// steps, and when it ends the salvage, what has been copied is in the new database.
func Salvage(ctx context.Context, path, newPath string, progress func(CheckReport)) (CheckReport, error) {
	if err := ctx.Err(); err != nil {
		return CheckReport{}, err
	}
	from, err := cString("path", path)
	if err != nil {
		return CheckReport{}, err
	}
	to, err := cString("newPath", newPath)
	if err != nil {
		return CheckReport{}, err
	}
	c := newCall()
	status := rawSalvageBegin(from, to, &c.handle, &c.err)
	handle := c.handle
	if err := c.done(status); err != nil {
		return CheckReport{}, err
	}
	return runCheck(ctx, handle, progress)
}

// runCheck runs a verification or salvage to its end and closes it, also when progress panics.
func runCheck(ctx context.Context, handle uint64, progress func(CheckReport)) (report CheckReport, err error) {
	defer func() {
		c := newCall()
		if closing := c.done(rawCheckClose(handle, &c.err)); err == nil {
			err = closing
		}
	}()
	fields := report.fields()
	values := make([]uint64, len(fields))
	for report.Finished == 0 {
		if err := ctx.Err(); err != nil {
			return report, err
		}
		c := newCall()
		if err := c.done(rawCheckStep(handle, checkStep, values, &c.err)); err != nil {
			return report, err
		}
		for i, field := range fields {
			*field = values[i]
		}
		report.ProblemTexts = problemTexts(handle, &report)
		if progress != nil {
			progress(report)
		}
	}
	return report, nil
}

// problemTexts adds the texts of the problems that are new. It makes a new slice then: progress may have kept the old one.
func problemTexts(handle uint64, report *CheckReport) []string {
	texts := report.ProblemTexts
	for kept := uint64(len(texts)); kept < report.Problems; kept++ {
		c := newCall()
		size := rawKeelgoCheckProblem(handle, kept, c.buffer[:])
		text := string(c.buffer[:size])
		c.free()
		if size == 0 { // the check keeps no more
			break
		}
		texts = append(texts[:kept:kept], text)
	}
	return texts
}
