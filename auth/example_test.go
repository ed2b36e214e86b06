package auth_test

import (
	"context"
	"fmt"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/auth"
)

func ExampleAuthority_Mint() {
	ctx := context.Background()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	keys := newKeyring() // in the daemon: the store
	a := auth.New(auth.Config{Keys: keys, Now: func() time.Time { return now }})

	backend := picloud.Principal{Kind: picloud.KindKey, Name: "ab12cd34ef", App: "shop", Scopes: []picloud.Scope{picloud.ScopeAppPublish}}
	token, err := a.Mint(ctx, backend, "shop", []string{"orders"}, 15*time.Minute)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("for", token.Topics, "until", token.ExpiresAt.Format(time.TimeOnly))

	grant, err := a.VerifyToken("shop", []string{"orders"}, token.Text)
	fmt.Println(grant.Subject, grant.Expires.Format(time.TimeOnly), err)

	_, err = a.VerifyToken("shop", []string{"stock"}, token.Text)
	fmt.Println(picloud.AsError(err).Code)
	// Output:
	// for [orders] until 12:15:00
	// key:ab12cd34ef 12:15:00 <nil>
	// unauthenticated
}
