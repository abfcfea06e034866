// check verifies an export of a Refundry log with Go's own note and tlog packages, without any Refundry code:
//
//	go run check.go DIRECTORY
//
// It needs golang.org/x/mod: `go mod init check && go get golang.org/x/mod`, or Debian's golang-golang-x-mod-dev with
// GO111MODULE=off GOPATH=/usr/share/gocode.
package main

import (
	"bufio"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type event struct {
	Index   int64    `json:"idx"`
	Refund  string   `json:"refund"`
	Version int64    `json:"version"`
	Topic   string   `json:"topic"`
	State   string   `json:"state"`
	Base64  string   `json:"state_base64"`
	Proof   []string `json:"proof"`
}

func must(err error, where string) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", where, err)
		os.Exit(5)
	}
}

func read(parts ...string) string {
	content, err := os.ReadFile(filepath.Join(parts...))
	must(err, "file")
	return string(content)
}

// entry returns the bytes that the log's tree hashes: each field, preceded by its length in four bytes.
func entry(e event) []byte {
	state := []byte(e.State)
	if e.Base64 != "" {
		decoded, err := base64.StdEncoding.DecodeString(e.Base64)
		must(err, "state")
		state = decoded
	}
	var out []byte
	for _, field := range [][]byte{
		[]byte("refundry/event/1"), []byte(e.Refund), []byte(strconv.FormatInt(e.Version, 10)), []byte(e.Topic), state,
	} {
		out = binary.BigEndian.AppendUint32(out, uint32(len(field)))
		out = append(out, field...)
	}
	return out
}

func hash(text string) tlog.Hash {
	var h tlog.Hash
	raw, err := base64.StdEncoding.DecodeString(text)
	must(err, "hash")
	copy(h[:], raw)
	return h
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: go run check.go DIRECTORY")
		os.Exit(2)
	}
	directory := os.Args[1]
	verifier, err := note.NewVerifier(strings.TrimSpace(read(directory, "key.vkey")))
	must(err, "key.vkey")
	signed, err := note.Open([]byte(read(directory, "checkpoint")), note.VerifierList(verifier))
	must(err, "checkpoint")
	lines := strings.Split(signed.Text, "\n")
	if lines[0] != verifier.Name() {
		must(fmt.Errorf("belongs to the log %q", lines[0]), "checkpoint")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	must(err, "checkpoint")
	root := hash(lines[2])

	file, err := os.Open(filepath.Join(directory, "events.jsonl"))
	must(err, "events.jsonl")
	scanner := bufio.NewScanner(file)
	scanner.Buffer(nil, 1<<26)
	var stored []tlog.Hash
	var count int64
	whole := true
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		var found []tlog.Hash
		for _, index := range indexes {
			found = append(found, stored[index])
		}
		return found, nil
	})
	for scanner.Scan() {
		var e event
		must(json.Unmarshal(scanner.Bytes(), &e), "events.jsonl")
		where := fmt.Sprintf("event %d", e.Index)
		leaf := tlog.RecordHash(entry(e))
		if e.Proof != nil {
			whole = false
			var proof tlog.RecordProof
			for _, each := range e.Proof {
				proof = append(proof, hash(each))
			}
			must(tlog.CheckRecord(proof, size, root, e.Index, leaf), where)
		} else {
			hashes, err := tlog.StoredHashesForRecordHash(count, leaf, reader)
			must(err, where)
			stored = append(stored, hashes...)
		}
		count++
	}
	must(scanner.Err(), "events.jsonl")
	if whole {
		if count != size {
			must(fmt.Errorf("there are %d events, but %d were signed", count, size), "events.jsonl")
		}
		made, err := tlog.TreeHash(size, reader)
		must(err, "tree")
		if made != root {
			must(fmt.Errorf("the events are not those that were signed"), "tree")
		}
	}
	fmt.Printf("ok: %d events are in the signed log %s of %d events\n", count, verifier.Name(), size)
}
