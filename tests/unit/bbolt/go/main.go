// Command bbolt writes, checks and reads database files with bbolt itself: one request a line on
// its input, one answer a line on its output, both JSON. It may die of a damaged file.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	bolt "go.etcd.io/bbolt"
)

// request asks for a file to be written if it has transactions, and to be read otherwise.
type request struct {
	Path           string
	PageSize       int
	FreeList       bolt.FreelistType
	NoFreeListSync bool
	Transactions   [][]change
}

// change sets a key in a bucket, which is made with those above it, or removes a key or a bucket.
// JSON makes base64 of all bytes.
type change struct {
	Bucket [][]byte
	Key    []byte
	Value  []byte
	Remove bool
}

// item is a key with a value, or a nested bucket.
type item struct {
	Key    []byte
	Value  []byte
	Bucket bool
	Items  []item
}

type answer struct {
	// Error is why the file cannot be opened, or what the check of its structure found.
	Error string
	Items []item
}

func main() {
	debug.SetPanicOnFault(true)
	lines := bufio.NewReader(os.Stdin)
	answers := json.NewEncoder(os.Stdout)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var asked request
		if err := json.Unmarshal(line, &asked); err != nil {
			panic(err)
		}
		items, err := serve(asked)
		found := answer{Items: items}
		if err != nil {
			found.Error = err.Error()
		}
		if err := answers.Encode(found); err != nil {
			panic(err)
		}
	}
}

func serve(asked request) (items []item, err error) {
	defer func() {
		if reason := recover(); reason != nil {
			err = fmt.Errorf("panic: %v", reason)
		}
	}()
	if asked.Transactions != nil {
		return nil, write(asked)
	}
	return read(asked.Path)
}

func write(asked request) error {
	db, err := bolt.Open(asked.Path, 0o600, &bolt.Options{
		PageSize:       asked.PageSize,
		FreelistType:   asked.FreeList,
		NoFreelistSync: asked.NoFreeListSync,
		NoSync:         true,
	})
	if err != nil {
		return err
	}
	defer db.Close()
	for _, changes := range asked.Transactions {
		err := db.Update(func(tx *bolt.Tx) error {
			for _, one := range changes {
				// (A value may be in the place of a bucket, or the reverse: bbolt refuses that.)
				apply(tx, one)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func apply(tx *bolt.Tx, one change) error {
	if one.Remove && len(one.Key) == 0 {
		return tx.DeleteBucket(one.Bucket[0])
	}
	bucket, err := tx.CreateBucketIfNotExists(one.Bucket[0])
	for _, name := range one.Bucket[1:] {
		if err == nil {
			bucket, err = bucket.CreateBucketIfNotExists(name)
		}
	}
	if err != nil {
		return err
	}
	if one.Remove {
		return bucket.Delete(one.Key)
	}
	return bucket.Put(one.Key, one.Value)
}

// read opens a file as `bbolt check` does.
func read(path string) ([]item, error) {
	options := &bolt.Options{ReadOnly: true, PreLoadFreelist: true, Timeout: time.Second}
	db, err := bolt.Open(path, 0o600, options)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	var items []item
	err = db.View(func(tx *bolt.Tx) error {
		var found error
		for one := range tx.Check() {
			found = errors.Join(found, one)
		}
		if found != nil {
			return found
		}
		items, err = content(tx.Cursor().Bucket())
		return err
	})
	return items, err
}

func content(bucket *bolt.Bucket) ([]item, error) {
	items := []item{}
	err := bucket.ForEach(func(key, value []byte) error {
		one := item{Key: append([]byte{}, key...)}
		if value == nil {
			one.Bucket = true
			nested, err := content(bucket.Bucket(key))
			if err != nil {
				return err
			}
			one.Items = nested
		} else {
			one.Value = append([]byte{}, value...)
		}
		items = append(items, one)
		return nil
	})
	return items, err
}
