package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"strconv"
)

// CheckFile adds a note under key if this process cannot open the file for reading.
func (a At) CheckFile(key, path string) {
	if problem := fileProblem(path); problem != "" {
		a.Failf(key, "%q: %s", path, problem)
	}
}

func fileProblem(path string) string {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return pathProblem(err, "file")
	case info.IsDir():
		return "is a folder; want a file"
	case !info.Mode().IsRegular():
		return "" // Opening a pipe or a device may block forever.
	}
	f, err := os.Open(path)
	if err != nil {
		return pathProblem(err, "file")
	}
	_ = f.Close() // It was opened only for reading.
	return ""
}

// CheckFolder adds a note under key if this process cannot open the folder for reading.
func (a At) CheckFolder(key, path string) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		a.Failf(key, "%q: %s", path, pathProblem(err, "folder"))
		return
	case !info.IsDir():
		a.Failf(key, "%q: is a file; want a folder", path)
		return
	}
	f, err := os.Open(path)
	if err != nil {
		a.Failf(key, "%q: %s", path, pathProblem(err, "folder"))
		return
	}
	_ = f.Close() // It was opened only for reading.
}

// pathProblem returns the problem and the remedy, without the path.
func pathProblem(err error, kind string) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "does not exist; want the path of a " + kind + ", absolute or relative to this file"
	case errors.Is(err, fs.ErrPermission):
		return fmt.Sprintf("permission denied; want a %s that user %d of this process can read", kind, os.Getuid())
	}
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	return fmt.Sprintf("%v; want a %s that can be read", err, kind)
}

// CheckURL reports under key a text that is not the URL of an HTTP server.
func (a At) CheckURL(key, address string) {
	u, err := url.Parse(address)
	switch {
	case address == "":
		a.Errorf(key, "missing; want an http or https URL")
	case err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "":
	case isHostPort(address):
		a.Errorf(key, "%s has no scheme; want an http or https URL such as %s", quote(address), quote("http://"+address))
	default:
		a.Errorf(key, "%s; want an http or https URL such as \"http://host:port\"", quote(address))
	}
}

func isHostPort(s string) bool {
	host, port, err := net.SplitHostPort(s)
	_, number := strconv.ParseUint(port, 10, 16)
	return err == nil && number == nil && host != ""
}

// CheckListen reports under key a text that is not an address to listen on.
func (a At) CheckListen(key, address string) {
	if _, port, err := net.SplitHostPort(address); err == nil {
		if _, err := strconv.ParseUint(port, 10, 16); err == nil {
			return
		}
	}
	a.Errorf(key, "%s; want an address to listen on, such as \":4317\" or \"127.0.0.1:4317\"", quote(address))
}
