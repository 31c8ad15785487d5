package baseline

import (
	"bufio"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// childStore is set in processes that tests start.
var childStore = flag.String("store", "", "folder that this process, started by a test, writes to")

// killDays is after how many days the processes that are killed freeze and
// reset: few, so that kills hit those too.
const killDays = 4

// TestKilledAtAnyMoment kills the writers of a store 200 times, two at a time,
// while a third process, this one, keeps reading it.
func TestKilledAtAnyMoment(t *testing.T) {
	const kills, replicas = 200, 2
	dir := t.TempDir()
	reader := openFolder(t, dir).Subject("dataset", "orders")
	acknowledged := make(map[string]bool)
	checked := make(map[string]bool)
	temps := 0
	for range kills / replicas {
		var written [replicas][]string
		var writers sync.WaitGroup
		for r := range replicas {
			writers.Go(func() { written[r] = killWriter(t, dir) })
		}
		over := make(chan struct{})
		go func() {
			writers.Wait()
			close(over)
		}()
		for reading := true; reading; {
			select {
			case <-over:
				reading = false
			case <-time.After(time.Millisecond):
				checkState(t, reader)
			}
		}
		for _, lines := range written {
			for _, line := range lines {
				acknowledged[line] = true
			}
		}
		checkState(t, openFolder(t, dir).Subject("dataset", "orders"))
		temps = checkFiles(t, dir, acknowledged, checked)
	}
	t.Logf("%d objects, %d acknowledged, %d temporary files left by %d kills", len(checked), len(acknowledged), temps, kills)
}

// killWriter starts a process that writes, kills it a little later, and returns
// the objects of which it said that they are written.
func killWriter(t *testing.T, dir string) (written []string) {
	cmd := exec.Command(os.Args[0], "-test.run=^TestWriteUntilKilled$", "-store", dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Error(err)
		return nil
	}
	if err := cmd.Start(); err != nil {
		t.Error(err)
		return nil
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if len(written) == 0 {
			time.AfterFunc(time.Duration(rand.Int64N(int64(50*time.Millisecond))), func() { _ = cmd.Process.Kill() })
		}
		written = append(written, lines.Text())
	}
	if err := cmd.Wait(); err == nil || err.Error() != "signal: killed" {
		t.Errorf("the writer was not killed but ended with %v; it said %q", err, written)
	}
	return written
}

// TestWriteUntilKilled is the process that is killed.
func TestWriteUntilKilled(t *testing.T) {
	if *childStore == "" {
		t.Skip("this is a part of TestKilledAtAnyMoment")
	}
	ctx := t.Context()
	b := openFolder(t, *childStore).Subject("dataset", "orders")
	def, err := b.CreateDefinition(ctx, testDefinition())
	require.NoError(t, err)
	fmt.Println(view(t, b).gens.definition())
	for {
		v := view(t, b)
		p, err := v.Production(ctx, killDays)
		require.NoError(t, err)
		if p.Frozen() {
			fmt.Println(v.gens.frozen(def.ID))
			require.NoError(t, b.Reset(ctx, PartProduction))
			continue
		}
		next := day(len(p.Days) + 1)
		_, err = b.AddDay(ctx, next, countsOf(def.ID, next))
		require.NoError(t, err)
		// The view may be older than the other writer's reset, the day is then
		// in the next generation.
		if now := view(t, b); now.has(v.gens.day(def.ID, next)) {
			fmt.Println(v.gens.day(def.ID, next))
		}
		require.NoError(t, v.SetLastGood(ctx, len(p.Days)))
	}
}

// checkState reads the store as an exporter does.
func checkState(t *testing.T, b *Subject) {
	t.Helper()
	v := view(t, b)
	if !v.has(v.gens.definition()) {
		return
	}
	def, err := v.Definition(t.Context())
	require.NoError(t, err)
	p, err := v.Production(t.Context(), 0)
	require.NoError(t, err)
	require.Equal(t, days(1, len(p.Days)), append([]Day(nil), p.Days...), "every day once")
	require.Equal(t, countsOf(def.ID, p.Days...).Rows, p.Counts.Rows)
	if len(p.Days) > 0 {
		require.Equal(t, countsOf(def.ID, p.Days...), p.Counts)
	}
	var n int
	if v.has(v.gens.lastGood()) {
		require.NoError(t, v.LastGood(t.Context(), &n))
	}
}

// checkFiles reads every object that was not checked before, of all
// generations, and returns the number of files that are not objects.
func checkFiles(t *testing.T, dir string, acknowledged, checked map[string]bool) (temps int) {
	t.Helper()
	present := make(map[string]bool)
	require.NoError(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		stem, ok := stemOf(e.Name())
		if !ok {
			require.True(t, strings.HasPrefix(e.Name(), tempPrefix), path)
			temps++
			return nil
		}
		present[stem] = true
		if checked[stem] {
			return nil
		}
		checked[stem] = true
		content, err := os.ReadFile(path)
		require.NoError(t, err)
		kind, _, _ := strings.Cut(stem, "-")
		var payload any
		var p Production
		if payload = new(any); kind == kindFrozen {
			payload = &p
		}
		_, err = decode(path, content, header{Kind: kind, Subject: "dataset/orders", Stem: stem}, payload)
		require.NoError(t, err)
		if kind == kindFrozen {
			require.Equal(t, days(1, killDays), p.Days)
			require.Equal(t, countsOf(p.Counts.Definition, p.Days...), p.Counts)
		}
		return nil
	}))
	for stem := range acknowledged {
		require.True(t, present[stem], "%s was acknowledged and is lost", stem)
	}
	return temps
}

// TestADiskThatIsFull uses the limit that a process can set for itself: a write
// beyond it fails midway, as on a full disk.
func TestADiskThatIsFull(t *testing.T) {
	if *childStore != "" {
		writeToFullDisk(t, *childStore)
		return
	}
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestADiskThatIsFull$", "-test.v", "-store", dir)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "--- PASS: TestADiskThatIsFull")

	b := openFolder(t, dir).Subject("dataset", "orders")
	require.Equal(t, days(1, 1), production(t, b, 1).Days, "with room again, the baseline freezes")
}

func writeToFullDisk(t *testing.T, dir string) {
	ctx := t.Context()
	b := openFolder(t, dir).Subject("dataset", "orders")
	def, err := b.CreateDefinition(ctx, testDefinition())
	require.NoError(t, err)
	added, err := b.AddDay(ctx, day(1), countsOf(def.ID, day(1)))
	require.NoError(t, err)
	require.True(t, added)
	require.NoError(t, view(t, b).SetLastGood(ctx, "before"))
	before, err := os.ReadDir(filepath.Join(dir, b.dir))
	require.NoError(t, err)

	signal.Ignore(syscall.SIGXFSZ)
	var limit syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit))
	full := limit
	full.Cur = 100
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &full))
	defer func() { require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit)) }()

	_, err = b.AddDay(ctx, day(2), countsOf(def.ID, day(2)))
	require.ErrorIs(t, err, syscall.EFBIG)
	require.ErrorContains(t, err, "write day of dataset/orders: ")
	_, err = b.CreateTraining(ctx, countsOf(def.ID, day(2)))
	require.ErrorIs(t, err, syscall.EFBIG)
	_, err = view(t, b).Production(ctx, 1)
	require.ErrorIs(t, err, syscall.EFBIG, "freezing needs room")
	require.ErrorIs(t, view(t, b).SetLastGood(ctx, "after"), syscall.EFBIG)
	require.ErrorIs(t, b.Reset(ctx, PartProduction), syscall.EFBIG)

	after, err := os.ReadDir(filepath.Join(dir, b.dir))
	require.NoError(t, err)
	require.Equal(t, fmt.Sprint(before), fmt.Sprint(after), "nothing is left behind")
	require.Equal(t, days(1, 1), production(t, b, 0).Days)
	var last string
	require.NoError(t, view(t, b).LastGood(ctx, &last))
	require.Equal(t, "before", last)
}

func TestOnlyOldTemporaryFilesAreSwept(t *testing.T) {
	dir := t.TempDir()
	s := openFolder(t, dir)
	b := s.Subject("dataset", "orders")
	require.NoError(t, view(t, b).SetLastGood(t.Context(), 1))
	temp := filepath.Join(dir, b.dir, tempPrefix+"0123456789abcdef")
	require.NoError(t, os.WriteFile(temp, []byte("half"), 0o644))
	require.NoError(t, view(t, b).SetLastGood(t.Context(), 2))
	require.FileExists(t, temp, "its writer may still be writing")
	old := time.Now().Add(-tempMaxAge - time.Minute)
	require.NoError(t, os.Chtimes(temp, old, old))
	require.NoError(t, view(t, b).SetLastGood(t.Context(), 3))
	require.NoFileExists(t, temp)
}

func TestUnwritableFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(dir, nil, 0o644))
	b := openFolder(t, filepath.Join(dir, "below")).Subject("dataset", "orders")
	err := b.Reset(t.Context(), PartProduction)
	require.Error(t, err)
	_, err = openFolder(t, dir).Subject("dataset", "orders").CreateDefinition(t.Context(), testDefinition())
	require.Error(t, err)
}
