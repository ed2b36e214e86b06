package store

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"strings"
	"unicode/utf8"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/check"
)

const tableSecret table = 26 // app, zero byte, secret name

var secretKind = rowKind{
	name: "secrets", data: true,
	copied: copies[picloud.Secret]{
		as: picloud.ChangeSecret, limit: picloud.MaxSecrets,
		check: func(sec *picloud.Secret) error {
			if len(sec.Sealed) > picloud.MaxSecret+maxSeal {
				return picloud.ErrSecretInvalid.Detailf("it has more than %d bytes", picloud.MaxSecret)
			}
			return check.Handle("secret", sec.Name)
		},
		to: func(_ *restorer, sec picloud.Secret) ([]change, error) {
			return putOf(tableSecret, pair(sec.App, sec.Name), sec), nil
		},
	},
}

// Secrets are sealed with AES-256-GCM. The key is derived (HKDF, RFC 5869) from what
// the node was given as its credential, or else from its recovery key, which lies in
// node.json: then the operator who restores the node has its secrets, too. The name of a
// secret is bound to it, so that none can be passed off as another.

const secretInfo = "picloud secrets 1"

// maxSeal bounds by how many bytes a sealed value is longer than the value.
const maxSeal = 64

func newSealer(credential []byte) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, credential, nil, secretInfo, 32)
	if err != nil {
		return nil, fmt.Errorf("derive the key of secrets: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("derive the key of secrets: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("derive the key of secrets: %w", err)
	}
	return aead, nil
}

func (s *Store) sealer() (cipher.AEAD, error) {
	credential := s.cfg.Credential
	if len(credential) == 0 {
		credential = s.ident.RecoveryKey
	}
	return newSealer(credential)
}

// Secrets returns the secrets of an app, sorted by name, sealed.
func (s *Store) Secrets(app string) ([]picloud.Secret, error) {
	if _, err := s.catalog.Load().app(app); err != nil {
		return nil, err
	}
	var list []picloud.Secret
	var fault error
	s.tables.scan(tableSecret, pair(app, ""), "", func(_ string, v []byte) bool {
		var one picloud.Secret
		fault = cborDecode(v, &one)
		list = append(list, one)
		return fault == nil
	})
	return list, fault
}

// SetSecret keeps a value, encrypted.
func (s *Store) SetSecret(ctx context.Context, app, name string, value []byte) (picloud.Secret, error) {
	if err := check.Handle("secret", name); err != nil {
		return picloud.Secret{}, err
	}
	if len(value) == 0 || len(value) > picloud.MaxSecret || !utf8.Valid(value) {
		return picloud.Secret{}, picloud.ErrSecretInvalid.Detailf("use 1 to %d bytes of UTF-8", picloud.MaxSecret)
	}
	aead, err := s.sealer()
	if err != nil {
		return picloud.Secret{}, err
	}
	nonce := make([]byte, aead.NonceSize(), aead.NonceSize()+len(value)+aead.Overhead())
	_, _ = rand.Read(nonce) // never fails
	sec := picloud.Secret{App: app, Name: name, Sealed: aead.Seal(nonce, nonce, value, []byte(pair(app, name)))}
	return ask(ctx, s, configOf(app), recordCost+len(app)+len(name)+len(sec.Sealed), func(tx *tx) (picloud.Secret, error) {
		if _, err := tx.catalog.app(app); err != nil {
			return sec, err
		}
		if tx.get(tableSecret, []byte(pair(app, name))) == nil && tx.s.tables.count(tableSecret, pair(app, ""), picloud.MaxSecrets) >= picloud.MaxSecrets {
			return sec, picloud.ErrSecretInvalid.Detailf("the app has %d secrets, which is the limit; delete some first", picloud.MaxSecrets)
		}
		sec.UpdatedAt = fromMicros(tx.at)
		tx.put(tableSecret, pair(app, name), sec)
		return sec, nil
	})
}

// Secret returns the value of a secret. It is for scripts of the app alone.
func (s *Store) Secret(app, name string) (string, error) {
	b := s.tables.get(tableSecret, []byte(pair(app, name)))
	if b == nil {
		return "", picloud.ErrSecretNotFound
	}
	var sec picloud.Secret
	if err := cborDecode(b, &sec); err != nil {
		return "", err
	}
	aead, err := s.sealer()
	if err != nil {
		return "", err
	}
	value, err := unseal(aead, sec.Sealed, pair(app, name))
	return string(value), err
}

// unseal returns a value that was sealed under a key, or picloud.ErrSecretUnreadable.
func unseal(aead cipher.AEAD, sealed []byte, key string) ([]byte, error) {
	if len(sealed) < aead.NonceSize() {
		return nil, picloud.ErrSecretUnreadable
	}
	value, err := aead.Open(nil, sealed[:aead.NonceSize()], sealed[aead.NonceSize():], []byte(key))
	if err != nil {
		return nil, picloud.ErrSecretUnreadable
	}
	return value, nil
}

// checkSecrets notes when there are secrets that the key of this node does not open.
func (s *Store) checkSecrets() {
	aead, err := s.sealer()
	if err != nil {
		s.log.Error("secrets cannot be checked", slog.Any("err", err))
		return
	}
	n, first := 0, ""
	s.tables.scan(tableSecret, "", "", func(key string, row []byte) bool {
		sec, err := decodeAs[picloud.Secret](row)
		if err == nil {
			_, err = unseal(aead, sec.Sealed, key)
		}
		if err != nil {
			if n++; n == 1 {
				first = key
			}
		}
		return true
	})
	if n == 0 {
		return
	}
	app, name, _ := strings.Cut(first, "\x00")
	noun := "secrets"
	if n == 1 {
		noun = "secret"
	}
	s.health.note(fmt.Sprintf("%d %s cannot be opened, such as %q of app %q: another key has sealed them. Give the node that key (secrets.key_file, or the node.json that was lost), or set them again ('picloud secrets set').", n, noun, name, app))
}

// DeleteSecret removes a secret.
func (s *Store) DeleteSecret(ctx context.Context, app, name string) error {
	return s.do(ctx, configOf(app), func(tx *tx) error {
		if _, err := tx.catalog.app(app); err != nil {
			return err
		}
		if tx.get(tableSecret, []byte(pair(app, name))) == nil {
			return picloud.ErrSecretNotFound
		}
		tx.remove(tableSecret, pair(app, name))
		return nil
	})
}
