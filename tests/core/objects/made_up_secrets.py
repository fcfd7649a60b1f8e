"""Credentials that open nothing, in the public formats, put together when asked: no scanner finds one in this repository.

The formats are those of the vendors' pages and of the public rule set at https://github.com/gitleaks/gitleaks (its rule names
are in the third column where one covers the format); every string is our own.
"""

from __future__ import annotations

import random
import string

HEX = "0123456789abcdef"
UPPER = string.ascii_uppercase + string.digits
ALNUM = string.ascii_letters + string.digits
URL = ALNUM + "-_"
LOWER = string.ascii_lowercase + string.digits

# format, what it is made of (a text, or an alphabet and a length), the rule of the public set
_MADE_OF: list[tuple[str, list[str | tuple[str, int]], str]] = [
    ("github-token", ["gh", "p_", (ALNUM, 36)], "github-pat"),
    ("github-token", ["gh", "o_", (ALNUM, 36)], "github-oauth"),
    ("github-token", ["gh", "u_", (ALNUM, 36)], "github-app-token"),
    ("github-token", ["gh", "s_", (ALNUM, 36)], "github-app-token"),
    ("github-token", ["gh", "r_", (ALNUM, 76)], "github-refresh-token"),
    ("github-fine-grained-token", ["github", "_pat_", (ALNUM, 22), "_", (ALNUM, 59)], "github-fine-grained-pat"),
    ("gitlab-token", ["gl", "pat-", (URL, 20)], "gitlab-pat"),
    ("gitlab-token", ["gl", "pat-", (URL, 27), ".01.", (LOWER, 9)], "gitlab-pat-routable"),
    ("gitlab-token", ["gl", "dt-", (URL, 20)], "gitlab-deploy-token"),
    ("gitlab-token", ["gl", "rt-", (URL, 20)], "gitlab-runner-authentication-token"),
    ("gitlab-token", ["gl", "cbt-", (ALNUM, 2), "_", (URL, 20)], "gitlab-cicd-job-token"),
    ("gitlab-token", ["gl", "ptt-", (HEX, 40)], "gitlab-ptt"),
    ("gitlab-token", ["gl", "ft-", (URL, 20)], "gitlab-feed-token"),
    ("gitlab-token", ["gl", "imt-", (URL, 25)], "gitlab-incoming-mail-token"),
    ("gitlab-token", ["gl", "agent-", (URL, 50)], "gitlab-kubernetes-agent-token"),
    ("gitlab-token", ["gl", "oas-", (URL, 64)], "gitlab-oauth-app-secret"),
    ("gitlab-token", ["gl", "soat-", (URL, 20)], "gitlab-scim-token"),
    ("gitlab-token", ["gl", "ffct-", (URL, 20)], "gitlab-feature-flag-client-token"),
    ("gitlab-runner-registration-token", ["GR", "1348941", (URL, 20)], "gitlab-rrt"),
    ("aws-access-key-id", ["AK", "IA", (UPPER, 16)], "aws-access-token"),
    ("aws-access-key-id", ["AS", "IA", (UPPER, 16)], "aws-access-token"),
    ("aws-session-token", ["IQoJ", "b3JpZ2lu", (ALNUM, 300)], ""),
    ("aws-bedrock-key", ["AB", "SK", (ALNUM, 120)], "aws-amazon-bedrock-api-key-long-lived"),
    ("google-api-key", ["AI", "za", (URL, 35)], "gcp-api-key"),
    ("google-oauth-token", ["ya", "29.", (URL, 60)], ""),
    ("google-client-secret", ["GOC", "SPX-", (URL, 28)], ""),
    ("azure-client-secret", [(ALNUM, 3), "8Q", "~", (ALNUM, 34)], "azure-ad-client-secret"),
    ("alibaba-access-key-id", ["LT", "AI", (ALNUM, 20)], "alibaba-access-key-id"),
    ("digitalocean-token", ["dop", "_v1_", (HEX, 64)], "digitalocean-pat"),
    ("digitalocean-token", ["doo", "_v1_", (HEX, 64)], "digitalocean-access-token"),
    ("digitalocean-token", ["dor", "_v1_", (HEX, 64)], "digitalocean-refresh-token"),
    ("cloudflare-origin-key", ["v1", ".0-", (HEX, 24), "-", (HEX, 146)], "cloudflare-origin-ca-key"),
    ("heroku-key", ["HRK", "U-AA", (URL, 58)], "heroku-api-key-v2"),
    ("fly-token", ["fo", "1_", (ALNUM, 43)], "flyio-access-token"),
    ("yandex-key", ["AQ", "VN", (URL, 37)], "yandex-api-key"),
    ("stripe-key", ["sk", "_live_", (ALNUM, 24)], "stripe-access-token"),
    ("stripe-key", ["rk", "_test_", (ALNUM, 99)], "stripe-access-token"),
    ("stripe-webhook-secret", ["wh", "sec_", (ALNUM, 32)], ""),
    ("square-token", ["sq0", "atp-", (URL, 22)], "square-access-token"),
    ("flutterwave-key", ["FLW", "SECK_TEST-", (HEX, 32), "-X"], "flutterwave-secret-key"),
    ("plaid-token", ["access-", "sandbox-", (HEX, 8), "-", (HEX, 4), "-", (HEX, 4), "-", (HEX, 4), "-", (HEX, 12)], "plaid-api-token"),
    ("shippo-token", ["shippo", "_live_", (HEX, 40)], "shippo-api-token"),
    ("easypost-key", ["EZ", "AK", (LOWER, 54)], "easypost-api-token"),
    ("duffel-token", ["duffel", "_test_", (URL, 43)], "duffel-api-token"),
    ("slack-token", ["xo", "xb-", (string.digits, 12), "-", (string.digits, 12), "-", (ALNUM, 24)], "slack-bot-token"),
    ("slack-token", ["xo", "xp-", (string.digits, 12), "-", (string.digits, 12), "-", (string.digits, 12), "-", (HEX, 32)], "slack-user-token"),
    ("slack-token", ["xa", "pp-1-", (UPPER, 11), "-", (string.digits, 13), "-", (HEX, 64)], "slack-app-token"),
    ("slack-token", ["xo", "xe.xoxp-1-", (UPPER, 163)], "slack-config-access-token"),
    ("slack-token", ["xo", "xe-1-", (UPPER, 146)], "slack-config-refresh-token"),
    ("slack-webhook", ["https://hooks.slack", ".com/services/T", (UPPER, 10), "/B", (UPPER, 10), "/", (ALNUM, 24)], "slack-webhook-url"),
    ("discord-webhook", ["https://discord", ".com/api/webhooks/", (string.digits, 18), "/", (URL, 68)], ""),
    ("discord-bot-token", ["M", (ALNUM, 25), ".", (URL, 6), ".", (URL, 38)], ""),
    ("telegram-bot-token", [(string.digits, 10), ":A", "A", (URL, 33)], "telegram-bot-api-token"),
    ("twilio-sid", ["S", "K", (HEX, 32)], "twilio-api-key"),
    ("sendgrid-key", ["S", "G.", (ALNUM, 22), ".", (ALNUM, 43)], "sendgrid-api-token"),
    ("sendinblue-key", ["xkey", "sib-", (HEX, 64), "-", (ALNUM, 16)], "sendinblue-api-token"),
    ("mailgun-key", ["ke", "y-", (HEX, 32)], "mailgun-private-api-token"),
    ("mailchimp-key", [(HEX, 32), "-u", "s12"], "mailchimp-api-key"),
    ("openai-key", ["sk", "-proj-", (URL, 74), "T3Blbk", "FJ", (URL, 74)], "openai-api-key"),
    ("openai-key", ["sk", "-", (ALNUM, 20), "T3Blbk", "FJ", (ALNUM, 20)], "openai-api-key"),
    ("anthropic-key", ["sk", "-ant-", "api03-", (URL, 93), "AA"], "anthropic-api-key"),
    ("sk-key", ["sk", "-", (HEX, 32)], ""),
    ("huggingface-token", ["h", "f_", (string.ascii_letters, 34)], "huggingface-access-token"),
    ("huggingface-token", ["api", "_org_", (string.ascii_letters, 34)], "huggingface-organization-api-token"),
    ("perplexity-key", ["pp", "lx-", (ALNUM, 48)], "perplexity-api-key"),
    ("groq-key", ["gs", "k_", (ALNUM, 52)], ""),
    ("databricks-token", ["da", "pi", (HEX, 32)], "databricks-api-token"),
    ("airtable-token", ["pa", "t", (ALNUM, 14), ".", (HEX, 64)], "airtable-personnal-access-token"),
    ("notion-token", ["nt", "n_", (string.digits, 11), (ALNUM, 35)], "notion-api-token"),
    ("planetscale-token", ["pscale", "_tkn_", (ALNUM, 43)], "planetscale-api-token"),
    ("clickhouse-cloud-key", ["4b", "1d", (ALNUM, 38)], "clickhouse-cloud-api-secret-key"),
    ("prefect-key", ["pn", "u_", (ALNUM, 36)], "prefect-api-token"),
    ("maxmind-key", [(ALNUM, 6), "_", (ALNUM, 29), "_m", "mk"], "maxmind-license-key"),
    ("npm-token", ["np", "m_", (ALNUM, 36)], "npm-access-token"),
    ("pypi-token", ["py", "pi-", "AgEIcHlwaS5vcmc", (URL, 60)], "pypi-upload-token"),
    ("rubygems-key", ["ruby", "gems_", (HEX, 48)], "rubygems-api-token"),
    ("docker-token", ["dckr", "_pat_", (URL, 27)], ""),
    ("clojars-token", ["CLO", "JARS_", (LOWER, 60)], "clojars-api-token"),
    ("artifactory-key", ["AK", "Cp", (ALNUM, 69)], "artifactory-api-key"),
    ("octopus-key", ["AP", "I-", (UPPER, 26)], "octopus-deploy-api-key"),
    ("pulumi-token", ["pu", "l-", (HEX, 40)], "pulumi-api-token"),
    ("terraform-token", [(ALNUM, 14), ".atlas", "v1.", (URL, 66)], "hashicorp-tf-api-token"),
    ("vault-token", ["hv", "s.", (URL, 96)], "vault-service-token"),
    ("vault-token", ["hv", "b.", (URL, 150)], "vault-batch-token"),
    ("doppler-token", ["d", "p.pt.", (ALNUM, 43)], "doppler-api-token"),
    ("openshift-token", ["sha", "256~", (URL, 43)], "openshift-user-token"),
    ("scalingo-token", ["tk", "-us-", (URL, 48)], "scalingo-api-token"),
    ("infracost-key", ["ic", "o-", (ALNUM, 32)], "infracost-api-token"),
    ("harness-key", ["pa", "t.", (URL, 22), ".", (ALNUM, 24), ".", (ALNUM, 20)], "harness-api-key"),
    ("grafana-token", ["gl", "sa_", (ALNUM, 32), "_", (HEX, 8)], "grafana-service-account-token"),
    ("grafana-token", ["gl", "c_", (ALNUM, 80)], "grafana-cloud-api-token"),
    ("sentry-token", ["sntr", "yu_", (HEX, 64)], "sentry-user-token"),
    ("sentry-token", ["sntr", "ys_eyJpYXQiO", (ALNUM, 100), "_", (ALNUM, 43)], "sentry-org-token"),
    ("new-relic-key", ["NR", "AK-", (UPPER, 27)], "new-relic-user-api-key"),
    ("dynatrace-token", ["dt0", "c01.", (UPPER, 24), ".", (UPPER, 64)], "dynatrace-api-token"),
    ("postman-key", ["PM", "AK-", (HEX, 24), "-", (HEX, 34)], "postman-api-token"),
    ("sourcegraph-token", ["sg", "p_", (HEX, 16), "_", (HEX, 40)], "sourcegraph-access-token"),
    ("linear-key", ["lin", "_api_", (ALNUM, 40)], "linear-api-key"),
    ("atlassian-token", ["ATA", "TT3", (URL, 186)], "atlassian-api-token"),
    ("shopify-token", ["shp", "at_", (HEX, 32)], "shopify-access-token"),
    ("shopify-token", ["shp", "ss_", (HEX, 32)], "shopify-shared-secret"),
    ("typeform-token", ["tf", "p_", (URL, 59)], "typeform-api-token"),
    ("frameio-token", ["fi", "o-u-", (URL, 64)], "frameio-api-token"),
    ("readme-key", ["rd", "me_", (LOWER, 70)], "readme-api-token"),
    ("settlemint-token", ["sm", "_pat_", (ALNUM, 16)], "settlemint-personal-access-token"),
    ("adobe-client-secret", ["p8", "e-", (HEX, 32)], "adobe-client-secret"),
    ("intra42-secret", ["s-s4", "t2ud-", (HEX, 64)], "intra42-client-secret"),
    ("defined-networking-token", ["dn", "key-", (URL, 26), "-", (URL, 52)], "defined-networking-api-token"),
    ("facebook-token", ["EA", "AM", (ALNUM, 120)], "facebook-page-access-token"),
    ("jwt", ["ey", "J", (ALNUM, 33), ".ey", "J", (URL, 60), ".", (URL, 43)], "jwt"),
    ("1password-secret", ["A", "3-", (UPPER, 6), "-", (UPPER, 11), "-", (UPPER, 5), "-", (UPPER, 5), "-", (UPPER, 5)], "1password-secret-key"),
    ("age-secret-key", ["AGE-SECRET-", "KEY-1", (UPPER, 58)], "age-secret-key"),
    ("xray-key", ["xr", "ay_", (HEX, 8), "_", (URL, 43)], ""),
]  # fmt: skip

FORMATS = [(name, public or name, n) for n, (name, _, public) in enumerate(_MADE_OF)]


def secret(n: int, seed: int = 0) -> str:
    """The n-th format as a string whose pieces end in a letter or digit; another seed makes another string."""
    return "".join(_pieces(n, seed))


def random_part(n: int, seed: int = 0) -> str:
    """Its longest piece: what must not be found anywhere afterwards."""
    return max(_pieces(n, seed), key=len)


def _pieces(n: int, seed: int) -> list[str]:
    draw = random.Random(f"{n} {seed}")
    return [
        each
        if isinstance(each, str)
        else "".join(draw.choices(each[0], k=each[1] - 1)) + draw.choice(each[0].strip("-_"))
        for each in _MADE_OF[n][1]
    ]
