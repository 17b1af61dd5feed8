// net/http. PORT may be a number or the path of a Unix socket.
package main

import (
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
)

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "hello\n")
	})
	http.HandleFunc("/json", func(w http.ResponseWriter, r *http.Request) {
		body := any(map[string]string{"hello": "world"})
		if r.Method == http.MethodPost {
			if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(body)
	})
	http.HandleFunc("/download", func(w http.ResponseWriter, r *http.Request) {
		bytes, _ := strconv.Atoi(r.URL.Query().Get("bytes"))
		w.Header().Set("Content-Length", strconv.Itoa(bytes))
		w.Write(make([]byte, bytes))
	})
	http.HandleFunc("/upload", func(w http.ResponseWriter, r *http.Request) {
		bytes, _ := io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(map[string]int64{"bytes": bytes})
	})

	port := os.Getenv("PORT")
	network, address := "unix", port
	if _, err := strconv.Atoi(port); err == nil {
		network, address = "tcp", "127.0.0.1:"+port
	}
	listener, err := net.Listen(network, address)
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.Serve(listener, nil))
}
