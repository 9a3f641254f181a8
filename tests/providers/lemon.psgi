# The portal as it is, with two slips of its OpenID 2.0 issuer (2.16) mended on the way in. It puts what a request says into
# a list as it comes: what is not said, and what is said twice, moves all that follows by a place, and ends in an error 500.
#  - No association is named by whoever keeps none (OpenID 2.0 §9.1): named as nothing at all.
#  - Its own forms bring everything along in the body, and are sent to the address that has it all too: in the body only.
my $portal = do '/usr/share/lemonldap-ng/portal/htdocs/index.psgi' or die $@ || $!;
sub {
    my $env = shift;
    if ( $env->{PATH_INFO} =~ m{^/openidserver} ) {
        if ( $env->{REQUEST_METHOD} eq 'POST' ) {
            $env->{QUERY_STRING} = '';
        }
        elsif ( $env->{QUERY_STRING} =~ /openid\.mode=/ and $env->{QUERY_STRING} !~ /openid\.assoc_handle=/ ) {
            $env->{QUERY_STRING} .= '&openid.assoc_handle=';
        }
    }
    $portal->($env);
}
