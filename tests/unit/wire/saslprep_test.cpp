#include "wire/saslprep.hpp"

#include <gtest/gtest.h>

#include "wire/scram.hpp"

namespace weir::wire {
namespace {

using namespace std::string_literals;

TEST(Saslprep, LeavesAsciiAsItIs) {
  EXPECT_EQ(saslprep(""), "");
  EXPECT_EQ(saslprep("pencil 123 !~"), "pencil 123 !~");
}

// RFC 4013, section 3.
TEST(Saslprep, FollowsTheExamplesOfItsRfc) {
  EXPECT_EQ(saslprep("I\xc2\xadX"), "IX");
  EXPECT_EQ(saslprep("user"), "user");
  EXPECT_EQ(saslprep("USER"), "USER");
  EXPECT_EQ(saslprep("\xc2\xaa"), "a");
  EXPECT_EQ(saslprep("\xe2\x85\xa8"), "IX");
}

TEST(Saslprep, UsesWhatIsProhibitedOrInvalidAsItIs) {
  EXPECT_EQ(saslprep("\xd8\xa7"
                     "1"),
            "\xd8\xa7"
            "1");                                       // breaks the bidirectional rule
  EXPECT_EQ(saslprep("\xc3\xa9\x07"), "\xc3\xa9\x07");  // a control character
  EXPECT_EQ(saslprep("\xff\xfe"
                     "ab"),
            "\xff\xfe"
            "ab");                                      // not UTF-8
  EXPECT_EQ(saslprep("a\0\xc2\xaa"s), "a\0\xc2\xaa"s);  // no C string
}

struct Known {
  const char* password;
  const char* secret;
};

// Made by libpq 15's PQencryptPasswordConn().
const Known kMadeByLibpq[] = {
    {"pencil",
     "SCRAM-SHA-256$4096:htp4BLZ4nH8QmfQWihvmPQ==$FVV3DCoYR4YQZZEgIqMdp6lRq3hheZPDsnyK7qyAW3k=:JNuxp44+Tqn52O/"
     "3JvjwetNsHPWB1kokXX9QYlgU/lA="},
    {"p\xc3\xa4ssw\xc3\xb6rd",
     "SCRAM-SHA-256$4096:3OvhnbDqIOHqwxKvE7vBSg==$wjBXXrhdWlgnT8pwtYR/qdKgN907OGFyeGli4BU/"
     "DL0=:dFKtSfNcoPjt6wkMZ0o0pn464GXoU6i/jnfU5PwROdw="},
    {"I\xc2\xadX",
     "SCRAM-SHA-256$4096:7QNCxc6MN+QjGyR6wR7gDg==$1XcfKmp3TFOBIpaFroQ4+EWwStcrPC1/"
     "BC5S8jfkWFY=:YtJKBoXCnwEwBk9uiuHxMfG2bJqj2C5uLH4Ngwh2ogE="},
    {"\xe2\x85\xa8",
     "SCRAM-SHA-256$4096:yh5ianInczKwiKu1Dy5iTg==$qaKgq62RuHCoPRWQx+S7oTDvdZPwBrnMa9BZCaf9sIc=:"
     "hRAIv9r5A0VZOS2fdD6mgViyJaRTmOnhoCU0UtCDkLs="},
    {"\xc2\xaa",
     "SCRAM-SHA-256$4096:Eu2EmOADOEStkqM5aY/"
     "DLw==$4l+YUNMf0qhwU91pmZG+fyGx6Qgk68crLdQWGn+VQpk=:F0hOmIN79RW3l62PvkcfEojjSQJ1MKYNR6DKg0emCxE="},
    {"a\xc2\xa0"
     "b",
     "SCRAM-SHA-256$4096:UHkIrLppyakQdnl+bXGO7A==$YoD5XY1QIJJAErt64XSJN31OYQgZVJMArnip/"
     "1+6vW0=:YXlKdyq4d1hZVuvJ1BR0YbCatcvvwmFzpRkEK7g9/a4="},
    {"\x07x",
     "SCRAM-SHA-256$4096:VRNQ0le1glcoJ8LqdksGzg==$6DWz+fHDkXjjdFwr/TYSmol+NdYTqd2Q/"
     "j0LOtiX0JI=:cM3WJq+PoO6de8BqERWWisFklvL0yNrgoocZcRCoDPQ="},
    {"\xd8\xa7"
     "1",
     "SCRAM-SHA-256$4096:ALzXMWu97yj13DE9Ob04Ow==$9QFLt9J1oYfLgR6OZQ9R5ChYuPCMoOMX+R2y91M5TRY=:"
     "iXO5prL3yJGf8sdJ8SBj7axAIkF8YTMzJBg6F+qM4dg="},
    {"e\xcc\x81",
     "SCRAM-SHA-256$4096:0uy+RnrN74fpehtUfOPWLQ==$DSx6EWZdzddaNNmvnCPH/"
     "D+BlG6v8lxKEohMLwVT34A=:4nE+J+U4iVJTamVQkcbz2UAUtA26unWHqUTAY/HRKGg="},
    {"\xff\xfe"
     "ab",
     "SCRAM-SHA-256$4096:OFfb2C1lYEj/"
     "WiC3vS3grA==$tmAFgnAL7+oLGbA8y+adTt8BqI1KBrRr1C5JJXAOGw0=:ILGYcAIw3bAqs5KznVB8dUmnv9miApXMPmusjX1vmUw="},
};

TEST(Saslprep, LeadsToTheSecretsLibpqMakes) {
  for (const Known& known : kMadeByLibpq) {
    const auto secret = ScramSecret::parse(known.secret);
    ASSERT_TRUE(secret.ok());
    const ScramSecret derived = ScramSecret::derive(known.password, secret->salt, secret->iterations);
    EXPECT_EQ(derived.stored_key, secret->stored_key) << known.password;
    EXPECT_EQ(derived.server_key, secret->server_key) << known.password;
  }
}

}  // namespace
}  // namespace weir::wire
