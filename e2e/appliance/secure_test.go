package appliance

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"
	"strings"
)

const secureURL = "https://localhost:7443"

// servesHTTPS: with a certificate of the board's own, as root makes it, events are published
// and streamed over HTTPS, and a renewed certificate is taken while the stream goes on.
func (a appliance) servesHTTPS() {
	a.cli("tls", "self-signed")
	const dir = "/var/lib/picloud/tls"
	a.configure("http.tls_cert = \"" + dir + "/server.crt\"\nhttp.tls_key = \"" + dir + "/server.key\"\n")
	a.command("systemctl", "restart", "picloud.service")
	pem, err := os.ReadFile(dir + "/ca.crt")
	if err != nil {
		a.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	trust := &tls.Config{RootCAs: roots}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: trust}}
	defer client.CloseIdleConnections()
	stream, leave := a.open(client, secureURL)
	defer leave()
	frames := bufio.NewScanner(stream)
	arrives := func(data string) {
		a.Helper()
		if err := a.publishTo(client, secureURL, "t", data); err != nil {
			a.Fatal(err)
		}
		for frames.Scan() {
			if strings.Contains(frames.Text(), `"data":`+data) {
				return
			}
		}
		a.Fatalf("the stream ended without %s: %v", data, frames.Err())
	}
	arrives(`"over HTTPS"`)
	serial := func() string {
		a.Helper()
		conn, err := tls.Dial("tcp", strings.TrimPrefix(secureURL, "https://"), trust)
		if err != nil {
			a.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	before := serial()
	a.cli("tls", "self-signed", "--renew")
	a.until("the renewed certificate", func() bool { return serial() != before })
	arrives(`"with the renewed certificate"`)
	a.configure("")
	a.command("systemctl", "restart", "picloud.service")
}
