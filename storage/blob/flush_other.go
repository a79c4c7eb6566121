//go:build !linux

package blob

import "os"

// startFlush does nothing where there is no such call; fsync does all of it.
func startFlush(*os.File, int64, int64) {}
