package script

// LockIn is for a process that tries the lock.
var LockIn = lockIn
