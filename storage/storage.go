package storage

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/packetboat/packetboat/storage/blob"
	"github.com/packetboat/packetboat/storage/sqldb"
	"github.com/packetboat/packetboat/storage/watch"
)

// The errors of this package beside those of io/fs.
var (
	ErrQuota     = errors.New("over quota")
	ErrConflict  = errors.New("changed by somebody else meanwhile")
	ErrLimit     = errors.New("limit reached")     // keywords of a mailbox, depth of the tree, ...
	ErrInvalid   = errors.New("invalid name")      // of a file, mailbox, account, address; the text says why
	ErrTemporary = errors.New("temporary failure") // disk full or read-only, too many open files, database busy, shutting down
	ErrNotLocal  = errors.New("not a local domain")
	ErrDamaged   = errors.New("damaged") // what was stored cannot be read any more, unless a backup is brought back
)

// ErrEntries is the ErrLimit of what would give an account more entries than Options.MaxEntries.
var ErrEntries = fmt.Errorf("%w: the account has as many files, folders and mailboxes as it may", ErrLimit)

// ErrLocked is Open's error when another process has the store open: a server is running.
var ErrLocked = sqldb.ErrLocked

// ErrNewer is Open's error for a database that a newer version of the program wrote.
var ErrNewer = sqldb.ErrNewer

// Options of a Store; the zero value is usable.
type Options struct {
	Logger    *slog.Logger
	Blobs     blob.Store // nil: disk, in DIR/blobs
	InlineMax int        // blobs up to this many bytes are rows; 0 means 96 KiB
	Now       func() time.Time
	RSAKey    func() (*rsa.PrivateKey, error) // makes the RSA keys that mail is signed with; nil: 2048 bits. Tests give one that is made already.
	BatchMax  int                             // jobs in one transaction; 0 means 256

	SnapshotEntries int           // entries of mailbox pictures kept in memory, 56 bytes each; 0 means 1,000,000
	MailCache       int           // bytes of envelopes, structures and headers kept in memory; 0 means 128 MiB, below 0 none
	KeysCache       int           // bytes of what SORT, THREAD and SEARCH ask of messages kept in memory; 0 means 64 MiB, below 0 none
	NoTextIndex     bool          // searches read every message
	GarbageAge      time.Duration // how long bytes stay readable that nothing refers to any more; 0 means one minute
	MaxEntries      int           // of an account: see Usage.Entries; 0 means 1,000,000, below 0 no limit
	PartialAge      time.Duration // how long cut uploads are kept; 0 means 7 days
	JournalMax      int           // records kept; 0 means 100,000
	JournalAge      time.Duration // and for how long; 0 means 90 days
	SuppressAfter   int           // bounces after which an address is suppressed; 0 means never
	Events          []string      // that are written for the webhook: EventAccepted, ...; none means no webhook
	EventsMax       int           // of them how many wait at most; 0 means 100,000
	Reserve         int64         // bytes of a file that is given up when the disk is full; 0 means none
	QueueMax        int           // messages in the outbox; 0 means 1,000,000, below 0 no limit
	QueueAccountMax int           // of them those of one account; 0 means 100,000, below 0 no limit
}

// inlineMax was found by BenchmarkInline: with 16 sessions a row is three times as fast as a file at 32 KiB, half as fast again at 64 KiB,
// and they are even at 128 KiB.
const inlineMax = 96 << 10

func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	def(&o.InlineMax, inlineMax)
	def(&o.BatchMax, 256)
	def(&o.SnapshotEntries, 1_000_000)
	def(&o.MailCache, 128<<20)
	def(&o.KeysCache, 64<<20)
	def(&o.GarbageAge, time.Minute)
	def(&o.PartialAge, 7*24*time.Hour)
	def(&o.MaxEntries, 1_000_000)
	def(&o.JournalMax, 100_000)
	def(&o.JournalAge, 90*24*time.Hour)
	def(&o.EventsMax, 100_000)
	def(&o.QueueMax, 1_000_000)
	def(&o.QueueAccountMax, 100_000)
	return o
}

func def[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

// Store is an open account store.
type Store struct {
	o       Options
	began   time.Time // when it was opened, by the clock of files
	log     *slog.Logger
	db      *sqldb.DB
	blobs   blob.Store
	hub     watch.Hub
	counted counterCache
	snaps   snapshots
	mails   mailCache
	names   nameCache
	routes  routeCache
	keys    keysCache
	access  accessCache
	outbox  outbox
	events  events

	suppressions atomic.Int64 // rows of the table

	dir        string // absolute
	disk       func(dir string) (free, total int64, err error)
	secret     []byte        // of addresses that are made here: SetSecret
	mountEpoch atomic.Uint64 // counts changes of anybody's mounts
	aclEpoch   atomic.Uint64 // counts changes of anybody's rights
	dkimEpoch  atomic.Uint64 // counts changes of anybody's keys
	sieveEpoch atomic.Uint64 // counts changes of anybody's scripts
	annotated  atomic.Int64  // seq of the last change of an annotation

	jobs    chan *job     // to the writer
	stop    chan struct{} // closed by Close
	stopped chan struct{} // closed by the writer when it has done what was waiting
	closing sync.Once
	w       writer        // of the writer's goroutine alone
	commits atomic.Uint64 // batches that were committed
	texts   texts

	journal journal
	visits  visits
	work    chan struct{} // capacity 1: there is something to sweep

	mu       sync.Mutex
	reserved map[int64]int64       // bytes announced by uploads under way, by account
	holding  map[blob.Key]struct{} // keys of blobs whose rows are not committed yet: not for the sweeper
}

// Open opens the store in dir (packetboat.db, blobs/), making it if there is none, and migrates it. A
// database newer than this program is refused with a text that says so (ErrNewer). One process at a time holds a store: ErrLocked.
func Open(ctx context.Context, dir string, o Options) (*Store, error) {
	o = o.withDefaults()
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("storage: open: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("storage: open: %w", err)
	}
	texts, err := migrations()
	if err != nil {
		return nil, fmt.Errorf("storage: open: %w", err)
	}
	_, total, err := diskSpace(dir)
	db, err := sqldb.Open(ctx, dir, texts, sqldb.Options{ShortLog: err == nil && total < smallDisk})
	if err != nil {
		return nil, fmt.Errorf("storage: open %s: %w", dir, err)
	}
	s := &Store{
		dir: dir, disk: diskSpace, o: o, began: time.Now(), log: o.Logger, db: db, blobs: o.Blobs,
		jobs: make(chan *job, 4*o.BatchMax), stop: make(chan struct{}), stopped: make(chan struct{}),
		work:     make(chan struct{}, 1),
		reserved: map[int64]int64{}, holding: map[blob.Key]struct{}{},
	}
	s.secret = make([]byte, 32)
	rand.Read(s.secret)
	s.snaps.init(o.SnapshotEntries, o.Now)
	s.mails.init(o.MailCache)
	s.keys.init(o.KeysCache)
	s.journal.init()
	if s.blobs == nil {
		if s.blobs, err = blob.OpenDisk(filepath.Join(dir, "blobs")); err != nil {
			db.Close()
			return nil, fmt.Errorf("storage: open %s: %w", dir, err)
		}
	}
	err = syncFolders(dir)
	if err == nil {
		err = s.openAnnotations()
	}
	if err == nil {
		err = s.openOutbox()
	}
	if err != nil {
		db.Close()
		return nil, fmt.Errorf("storage: open %s: %w", dir, err)
	}
	s.w.init(s)
	s.hub.Start()
	go s.write()
	s.openTexts(ctx, dir)
	if err := s.keepReserve(); err != nil {
		s.log.Warn("no room could be kept for when the disk is full", "error", err)
	}
	return s, nil
}

// syncFolders makes the store's folder and the names in it durable, which may have just been made.
func syncFolders(dir string) error {
	if err := sqldb.SyncDir(dir); err != nil {
		return err
	}
	// The folder above may be one that we cannot read.
	if err := sqldb.SyncDir(filepath.Dir(dir)); err != nil && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return nil
}

// Close finishes the writes under way and closes the store. Bodies of large blobs that are open go on.
func (s *Store) Close() error {
	err := error(nil)
	s.closing.Do(func() {
		close(s.stop)
		<-s.stopped
		s.hub.Stop()
		if s.texts.index != nil {
			s.texts.index.Close()
		}
		err = s.db.Close()
	})
	if err != nil {
		return fmt.Errorf("storage: close: %w", err)
	}
	return nil
}

// Watch is where committed changes are published.
func (s *Store) Watch() *watch.Hub { return &s.hub }

// fail wraps an error once with what was being done and makes of the database's own errors those of this package.
func fail(what string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, sql.ErrNoRows):
		err = fs.ErrNotExist
	case errors.Is(err, ErrTemporary):
	case sqldb.Temporary(err) || isTrouble(err):
		err = fmt.Errorf("%w: %w", ErrTemporary, err)
	case sqldb.Damaged(err):
		err = fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return fmt.Errorf("storage: %s: %w", what, err)
}
