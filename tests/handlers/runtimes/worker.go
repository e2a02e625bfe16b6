// A handler that does what Go programs do: each event names a job, the answer is its result.
//
// What goes wrong is answered as "failed: …", so that a test sees what a policy refuses. The jobs
// from `read` on are those that no policy lets a handler do. The standard library only.
package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

const (
	mib           = 1 << 20
	processVMRead = 310 // process_vm_readv(2) of x86_64, which package syscall does not have.
)

// The same number in every language of this folder.
func work(seed uint32) uint64 {
	value := seed
	for i := 0; i < 100_000; i++ {
		value = (value*1103515245 + 12345) & 0x7fffffff
	}
	return uint64(value)
}

// `count` goroutines, all in system calls of their own thread at once.
func onThreads(count int, act func(place int)) {
	var started, done sync.WaitGroup
	started.Add(count)
	done.Add(count)
	for i := 0; i < count; i++ {
		go func(place int) {
			defer done.Done()
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			started.Done()
			started.Wait()
			act(place)
		}(i)
	}
	done.Wait()
}

func threads() (string, error) {
	var sums [8]uint64
	onThreads(len(sums), func(place int) { sums[place] = work(uint32(place + 1)) })
	var sum uint64
	for _, one := range sums {
		sum += one
	}
	return fmt.Sprint(sum), nil
}

// As many as the runtime would run at once.
func processors() (string, error) {
	onThreads(runtime.GOMAXPROCS(0), func(int) {})
	return fmt.Sprint(runtime.GOMAXPROCS(0)), nil
}

func goroutines() (string, error) {
	numbers := make(chan int)
	for i := 0; i < 1000; i++ {
		go func(n int) {
			time.Sleep(time.Millisecond)
			numbers <- n
		}(i)
	}
	sum := 0
	for i := 0; i < 1000; i++ {
		sum += <-numbers
	}
	return fmt.Sprint(sum), nil
}

var kept [][]byte

// Garbage beside much that stays: without a limit the heap grows to twice what stays.
func gc() (string, error) {
	defer func() { kept = nil }()
	for i := 0; i < 300; i++ {
		kept = append(kept, touched())
	}
	for i := 0; i < 400; i++ {
		kept[i%len(kept)] = touched()
	}
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	if stats.NumGC == 0 {
		return "nothing was collected", nil
	}
	return fmt.Sprint(len(kept)), nil
}

func touched() []byte {
	block := make([]byte, mib)
	for at := 0; at < len(block); at += 4096 {
		block[at] = 1
	}
	return block
}

// Panics, one of which is a SIGSEGV that the runtime catches.
func panics() (caught string, err error) {
	defer func() { caught += fmt.Sprint("; ", recover()) }()
	func() {
		defer func() { caught = fmt.Sprint(recover()) }()
		var nothing *int
		*nothing = 1
	}()
	var empty []int
	return caught, fmt.Errorf("unreachable: %d", empty[len(caught)])
}

func deeper(left int) int {
	if left == 0 {
		return 0
	}
	return 1 + deeper(left-1)
}

func recursion() (string, error) {
	return fmt.Sprint(deeper(1_000_000)), nil
}

func files() (string, error) {
	place, err := os.MkdirTemp("", "worker")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(place)
	at := func(name string) string { return filepath.Join(place, name) }
	for _, act := range []func() error{
		func() error { return os.WriteFile(at("a"), make([]byte, mib), 0o644) },
		func() error { return os.Rename(at("a"), at("b")) },
		func() error { return os.Link(at("b"), at("c")) },
		func() error { return os.Symlink("b", at("d")) },
		func() error { return copyFile(at("e"), at("d")) },
	} {
		if err := act(); err != nil {
			return "", err
		}
	}
	info, err := os.Stat(at("e"))
	if err != nil {
		return "", err
	}
	entries, err := os.ReadDir(place)
	return fmt.Sprint(info.Size(), len(entries)), err
}

// By copy_file_range(2), where the kernel has it.
func copyFile(to, from string) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := os.Create(to)
	if err != nil {
		return err
	}
	defer target.Close()
	_, err = io.Copy(target, source)
	return err
}

func memory() (string, error) {
	taken := make([]byte, 200*mib)
	sum := 0
	for at := 0; at < len(taken); at += 4096 {
		taken[at] = 1
		sum += int(taken[at])
	}
	return fmt.Sprint(sum * 4096 / mib), nil
}

func subprocess() (string, error) {
	said, err := exec.Command("sh", "-c", "echo hello | tr a-z A-Z").Output()
	return strings.TrimSpace(string(said)), err
}

func crypto() (string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", err
	}
	digest := sha256.Sum256(nil)
	if _, err := ecdsa.SignASN1(rand.Reader, key, digest[:]); err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", digest[:4]), nil
}

func zone() (string, error) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		return "", err
	}
	return time.Date(2026, 7, 1, 10, 0, 0, 0, time.UTC).In(berlin).Format(time.RFC3339), nil
}

func read(path string) (string, error) {
	text, err := os.ReadFile(path)
	return strings.SplitN(string(text), "\n", 2)[0], err
}

func write(path string) (string, error) {
	return "7", os.WriteFile(path, []byte("written"), 0o644)
}

func connect(port string) (string, error) {
	connection, err := net.DialTimeout("tcp", "127.0.0.1:"+port, 5*time.Second)
	if err != nil {
		return "", err
	}
	return "connected", connection.Close()
}

// Of its own memory, which is its own to read without the call as well.
func readProcess() (string, error) {
	from, to := []byte("a"), []byte("b")
	vectors := [2]syscall.Iovec{{Base: &from[0], Len: 1}, {Base: &to[0], Len: 1}}
	_, _, failed := syscall.Syscall6(processVMRead, uintptr(os.Getpid()),
		uintptr(unsafe.Pointer(&vectors[1])), 1, uintptr(unsafe.Pointer(&vectors[0])), 1, 0)
	runtime.KeepAlive(vectors)
	if failed != 0 {
		return "", failed
	}
	return string(to), nil
}

func answer(words []string) (string, error) {
	jobs := map[string]func() (string, error){
		"threads": threads, "processors": processors, "goroutines": goroutines, "gc": gc,
		"panics": panics, "recursion": recursion, "files": files, "memory": memory,
		"subprocess": subprocess, "crypto": crypto, "zone": zone, "read_process": readProcess,
	}
	if job, found := jobs[words[0]]; found {
		return job()
	}
	with := map[string]func(string) (string, error){"read": read, "write": write, "connect": connect}
	if job, found := with[words[0]]; found && len(words) == 2 {
		return job(words[1])
	}
	return "", fmt.Errorf("unknown: %s", words[0])
}

// ---- The protocol; greeter.py explains it. ----

func readFrame(from io.Reader) ([]byte, error) {
	var size int32
	if err := binary.Read(from, binary.BigEndian, &size); err != nil {
		return nil, err
	}
	body := make([]byte, size)
	_, err := io.ReadFull(from, body)
	return body, err
}

func dataOf(event []byte) string {
	at := 1
	for event[at] >= 0x80 {
		at++
	}
	return string(event[at+1:])
}

func resultFrame(data string) []byte {
	body := append([]byte{0x12}, binary.AppendUvarint(nil, uint64(len(data)))...)
	body = append(body, data...)
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
}

func main() {
	requests := bufio.NewReader(os.Stdin)
	for {
		event, err := readFrame(requests)
		if err != nil {
			return
		}
		if _, err := readFrame(requests); err != nil { // The execution context.
			os.Exit(1)
		}
		text, err := answer(strings.Fields(dataOf(event)))
		if err != nil { // Whatever it is, the test is to read it.
			text = "failed: " + err.Error()
		}
		if _, err := os.Stdout.Write(resultFrame(text)); err != nil {
			os.Exit(1)
		}
	}
}
