package check_test

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/check"
)

func TestAppName(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"a", "default", "shop-2", "a-", "a--b", strings.Repeat("a", 63)} {
		if err := check.AppName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"", "A", "1a", "-a", "a_b", "a.b", "a/b", "a b", "ä", "aä", "a\x00", "a\n", strings.Repeat("a", 64), "$a", "a*"} {
		if err := check.AppName(name); !errors.Is(err, picloud.ErrAppNameInvalid) || picloud.AsError(err).Detail == "" {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// TP-2: which topic names there are, and why another is not one.
func TestTopicName(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"a", "A.b_c/d-9", "/", ".", "..", "-", strings.Repeat("x", 128)} {
		if err := check.TopicName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for name, says := range map[string]string{
		"": "empty", "*": "'*' is reserved", "a/*": "'*' is reserved", strings.Repeat("x", 129): "129 bytes",
		"a b": "byte 2", "a#": "byte 2", "ä": "byte 1", "a\x00": "byte 2", "a$": "byte 2", "a?": "byte 2", "$": "empty", "$*": "'*' is reserved", "$$": "byte 1",
	} {
		err := check.TopicName(name)
		if !errors.Is(err, picloud.ErrTopicNameInvalid) || !strings.Contains(picloud.AsError(err).Detail, says) {
			t.Errorf("%q: %v, want it to say %q", name, err, says)
		}
	}
	for _, name := range []string{"$board/health", "$x"} {
		if err := check.TopicName(name); !errors.Is(err, picloud.ErrTopicReserved) {
			t.Errorf("%q: %v", name, err)
		}
		if err := check.AnyTopicName(name); err != nil {
			t.Errorf("%q for a reader: %v", name, err)
		}
	}
}

func FuzzTopicName(f *testing.F) {
	for _, seed := range []string{"", "a", "a/b", "*", "$board/health", "$", "ä", "a b", strings.Repeat("x", 128), strings.Repeat("x", 129), "$" + strings.Repeat("x", 128)} {
		f.Add(seed)
	}
	own := regexp.MustCompile(`\A[A-Za-z0-9._/-]{1,128}\z`)
	f.Fuzz(func(t *testing.T, name string) {
		bare, system := strings.CutPrefix(name, "$")
		if picloud.IsSystemTopic(name) != system {
			t.Fatalf("IsSystemTopic(%q) = %v", name, !system)
		}
		if err := check.AnyTopicName(name); (err == nil) != own.MatchString(bare) {
			t.Fatalf("AnyTopicName(%q) = %v", name, err)
		}
		err := check.TopicName(name)
		if (err == nil) != own.MatchString(name) {
			t.Fatalf("TopicName(%q) = %v", name, err)
		}
		if errors.Is(err, picloud.ErrTopicReserved) != (system && own.MatchString(bare)) {
			t.Fatalf("TopicName(%q) = %v", name, err)
		}
	})
}
