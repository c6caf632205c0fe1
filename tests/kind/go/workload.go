// What the pods of the tests run: it serves its version, asks other services, or waits.
//
//	workload serve        answers every request with $VERSION
//	workload get URL      prints the answer
//	workload say WORDS    prints them and ends
//	workload environment  prints its variables and ends
//	workload pause        waits for a signal, as the container that holds a pod's namespaces
package main

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	switch os.Args[1] {
	case "serve":
		http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "version %s", os.Getenv("VERSION"))
		})
		go pause()
		fmt.Println("serving version", os.Getenv("VERSION"))
		log.Fatal(http.ListenAndServe(":8080", nil))
	case "get":
		client := http.Client{Timeout: 5 * time.Second}
		answer, err := client.Get(os.Args[2])
		if err != nil {
			log.Fatal(err)
		}
		io.Copy(os.Stdout, answer.Body)
	case "environment":
		fmt.Println(strings.Join(os.Environ(), "\n"))
	case "say":
		fmt.Println(strings.Join(os.Args[2:], " "))
	case "pause":
		pause()
	}
}

func pause() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	<-signals
	os.Exit(0)
}
