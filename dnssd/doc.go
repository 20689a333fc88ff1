// Package dnssd tells the LAN about a service: a responder for multicast DNS
// (RFC 6762) with one instance of one service type (RFC 6763), over IPv4.
//
// Announce asks whether the name is free (probing), tells the network about
// the service twice, answers who asks for it, and takes it back at the end. It
// follows interfaces that come and go. It does not browse.
//
// A goroutine owns all the state and does all the writing; a second one hands
// it what comes in. Both end before Announce returns. While there is no LAN
// there is no socket either.
package dnssd
