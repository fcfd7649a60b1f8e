"""The public formats of credentials, as data: how each begins, what it looks like, and where that is documented.

A format is found in two moves. First the hints of all formats are searched at once, so that a text without any costs one pass;
only then is a `pattern` tried. Add a format by adding a row; its test is a row in tests/core/objects/test_secret_formats.py.

"gitleaks: ..." names a rule of the public rule set https://github.com/gitleaks/gitleaks, from which a vendor's format is
taken where the vendor does not document it.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Format(NamedTuple):
    """One form of credential that is recognised by its form alone.

    Attributes:
        name: what reports call it.
        hints: what every match of `pattern` holds one of. One that begins with a letter or digit is a short regular
            expression with which a match, and a word, begins; any other is a literal that stands anywhere in it.
        pattern: a regular expression, ASCII, case-sensitive. Its group "secret" is masked where it has one, else the whole.
        source: where the form is documented.
    """

    name: str
    hints: tuple[str, ...]
    pattern: str
    source: str


_URL_SAFE: Final = r"[A-Za-z0-9_-]"
_GITHUB: Final = "https://docs.github.com/en/authentication/keeping-your-account-and-data-secure/about-authentication-to-github#githubs-token-formats"
_GITLAB: Final = "https://docs.gitlab.com/security/tokens/#token-prefixes"
_AWS: Final = "https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-unique-ids"
_SLACK: Final = "https://api.slack.com/concepts/token-types"
_STRIPE: Final = "https://docs.stripe.com/keys"

FORMATS: Final[tuple[Format, ...]] = (
    # Code hosts
    Format("github-token", ("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), r"gh[pousr]_[A-Za-z0-9_]{16,}", _GITHUB),
    Format("github-fine-grained-token", ("github_pat_",), r"github_pat_[A-Za-z0-9_]{22,}", _GITHUB),
    Format(
        "gitlab-token",
        (
            "glpat-",
            "gloas-",
            "gldt-",
            "glrt-",
            "glcbt-",
            "glptt-",
            "glft-",
            "glimt-",
            "glagent-",
            "glwt-",
            "glsoat-",
            "glffct-",
        ),
        r"gl(?:pat|oas|dt|rt|cbt|ptt|ft|imt|agent|wt|soat|ffct)-[A-Za-z0-9_.-]{16,}",
        _GITLAB,
    ),
    Format("gitlab-runner-registration-token", ("GR1348941",), rf"GR1348941{_URL_SAFE}{{20,}}", _GITLAB),
    # Clouds
    Format(
        "aws-access-key-id",
        ("A[KS]IA", "ABIA", "ACCA", "A3T[A-Z0-9]{17}"),
        r"(?:AKIA|ASIA|ABIA|ACCA|A3T[A-Z0-9])[A-Z0-9]{16}(?![A-Za-z0-9])",
        _AWS,
    ),
    Format(
        "aws-session-token",
        ("IQoJb3JpZ2lu", "FwoGZXIvYXdz"),
        r"(?:IQoJb3JpZ2lu|FwoGZXIvYXdz)[A-Za-z0-9+/=]{50,}",
        "https://docs.aws.amazon.com/STS/latest/APIReference/API_Credentials.html",
    ),
    Format(
        "aws-bedrock-key",
        ("ABSK", "bedrock-api-key-"),
        r"(?:ABSK|bedrock-api-key-)[A-Za-z0-9+/]{28,}={0,2}",
        "gitleaks: aws-amazon-bedrock-api-key-long-lived",
    ),
    Format(
        "google-api-key", ("AIza",), rf"AIza{_URL_SAFE}{{35}}", "https://cloud.google.com/docs/authentication/api-keys"
    ),
    Format(
        "google-oauth-token",
        (r"ya29\.",),
        r"ya29\.[A-Za-z0-9_.-]{20,}",
        "https://developers.google.com/identity/protocols/oauth2",
    ),
    Format(
        "google-refresh-token",
        ("1//0",),
        rf"1//0{_URL_SAFE}{{30,}}",
        "https://developers.google.com/identity/protocols/oauth2",
    ),
    Format(
        "google-client-secret",
        ("GOCSPX-",),
        rf"GOCSPX-{_URL_SAFE}{{20,}}",
        "https://developers.google.com/identity/protocols/oauth2",
    ),
    Format(
        "azure-client-secret",
        ("~",),
        r"[A-Za-z0-9_~.]{3}\dQ~[A-Za-z0-9_~.-]{31,34}",
        "gitleaks: azure-ad-client-secret",
    ),
    Format("alibaba-access-key-id", ("LTAI",), r"LTAI[A-Za-z0-9]{16,24}", "gitleaks: alibaba-access-key-id"),
    Format(
        "digitalocean-token",
        ("dop_v1_", "doo_v1_", "dor_v1_"),
        r"do[opr]_v1_[a-f0-9]{64}",
        "gitleaks: digitalocean-pat",
    ),
    Format(
        "cloudflare-origin-key", (r"v1\.0-",), r"v1\.0-[a-f0-9]{24}-[a-f0-9]{146}", "gitleaks: cloudflare-origin-ca-key"
    ),
    Format("heroku-key", ("HRKU-",), rf"HRKU-{_URL_SAFE}{{30,}}", "gitleaks: heroku-api-key-v2"),
    Format(
        "fly-token",
        ("fo1_", "fm1a_", "fm1r_", "fm2_"),
        r"(?:fo1|fm1[ar]|fm2)_[A-Za-z0-9+/_=-]{40,}",
        "gitleaks: flyio-access-token",
    ),
    Format(
        "yandex-key",
        ("AQVN", r"t1\.[A-Za-z0-9_-]{10}"),
        r"AQVN[A-Za-z0-9_-]{35,38}|t1\.[A-Za-z0-9_-]{10,}={0,2}\.[A-Za-z0-9_-]{86}={0,2}",
        "gitleaks: yandex-api-key",
    ),
    # Payments
    Format(
        "stripe-key",
        (
            "sk_live_",
            "sk_test_",
            "sk_prod_",
            "rk_live_",
            "rk_test_",
            "rk_prod_",
            "pk_live_",
            "pk_test_",
            "pk_prod_",
            "sk_org_",
        ),
        r"(?:[srp]k_(?:live|test|prod)|sk_org)_[A-Za-z0-9_]{10,}",
        _STRIPE,
    ),
    Format("stripe-webhook-secret", ("whsec_",), r"whsec_[A-Za-z0-9+/=]{24,}", "https://docs.stripe.com/webhooks"),
    Format(
        "square-token",
        ("EAAA[A-Za-z0-9_-]{22}", "sq0atp-", "sq0csp-"),
        rf"(?:EAAA|sq0[ac][ts]p-){_URL_SAFE}{{22,}}",
        "gitleaks: square-access-token",
    ),
    Format(
        "flutterwave-key",
        ("FLWSECK", "FLWPUBK"),
        r"FLW(?:SEC|PUB)K(?:_TEST)?-[A-Za-z0-9]{12,}(?:-X)?",
        "gitleaks: flutterwave-secret-key",
    ),
    Format(
        "plaid-token",
        ("access-sandbox-", "access-development-", "access-production-"),
        r"access-(?:sandbox|development|production)-[0-9a-f-]{36}",
        "gitleaks: plaid-api-token",
    ),
    Format("shippo-token", ("shippo_",), r"shippo_(?:live|test)_[a-fA-F0-9]{40}", "gitleaks: shippo-api-token"),
    Format("easypost-key", ("EZAK", "EZTK"), r"EZ[AT]K[A-Za-z0-9]{54}", "gitleaks: easypost-api-token"),
    Format("duffel-token", ("duffel_",), r"duffel_(?:test|live)_[A-Za-z0-9_=-]{43}", "gitleaks: duffel-api-token"),
    # Chat and mail
    Format(
        "slack-token",
        ("xoxa-", "xoxb-", "xoxc-", "xoxd-", "xoxe-", r"xoxe\.", "xoxo-", "xoxp-", "xoxr-", "xoxs-", "xapp-"),
        r"(?:xox[abcdeoprs](?:\.xox[bp])?|xapp)-[A-Za-z0-9%-]{10,}",
        _SLACK,
    ),
    Format(
        "slack-webhook",
        (r"hooks\.slack\.com/",),
        r"hooks\.slack\.com/(?:services|workflows|triggers)/(?P<secret>[A-Za-z0-9+/]{20,})",
        "https://api.slack.com/messaging/webhooks",
    ),
    Format(
        "discord-webhook",
        ("/api/webhooks/",),
        r"discord(?:app)?\.com/api/webhooks/\d+/(?P<secret>[A-Za-z0-9_-]{20,})",
        "https://discord.com/developers/docs/resources/webhook",
    ),
    Format(
        "discord-bot-token",
        (
            r"M[A-Za-z0-9_-]{23,27}\.",
            r"N[A-Za-z0-9_-]{23,27}\.",
            r"O[A-Za-z0-9_-]{23,27}\.",
        ),
        r"[MNO][A-Za-z0-9_-]{23,27}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,}",
        "https://discord.com/developers/docs/reference#authentication",
    ),
    Format(
        "teams-webhook",
        (r"webhook\.office\.com/",),
        r"webhook\.office\.com/webhookb2/(?P<secret>[A-Za-z0-9@/-]{40,})",
        "gitleaks: microsoft-teams-webhook",
    ),
    Format(
        "telegram-bot-token",
        (":AA",),
        rf"\d{{5,16}}:AA{_URL_SAFE}{{32,}}",
        "https://core.telegram.org/bots/api#authorizing-your-bot",
    ),
    Format(
        "twilio-sid",
        (
            "AC[0-9a-f]{8}",
            "SK[0-9a-f]{8}",
        ),
        r"(?:AC|SK)[0-9a-f]{32}(?![A-Za-z0-9])",
        "https://www.twilio.com/docs/glossary/what-is-a-sid",
    ),
    Format(
        "sendgrid-key",
        (r"SG\.",),
        r"SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}",
        "https://docs.sendgrid.com/ui/account-and-settings/api-keys",
    ),
    Format(
        "sendinblue-key",
        ("xkeysib-", "xsmtpsib-"),
        r"x(?:key|smtp)sib-[a-f0-9]{64}-[A-Za-z0-9]{16}",
        "gitleaks: sendinblue-api-token",
    ),
    Format(
        "mailgun-key",
        (
            "key-[a-f0-9]{32}",
            "pubkey-[a-f0-9]{32}",
        ),
        r"(?:pub)?key-[a-f0-9]{32}(?![A-Za-z0-9])",
        "gitleaks: mailgun-private-api-token",
    ),
    Format("mailchimp-key", ("-us",), r"[a-f0-9]{32}-us\d{1,2}(?!\d)", "gitleaks: mailchimp-api-key"),
    # Models and data
    Format(
        "openai-key",
        ("sk-",),
        rf"sk-(?:(?:proj|svcacct|admin)-{_URL_SAFE}{{20,}}|{_URL_SAFE}*T3BlbkFJ{_URL_SAFE}{{10,}})",
        "gitleaks: openai-api-key",
    ),
    Format("anthropic-key", ("sk-ant-",), rf"sk-ant-{_URL_SAFE}{{20,}}", "gitleaks: anthropic-api-key"),
    Format(
        "sk-key",
        ("sk-",),
        rf"sk-(?={_URL_SAFE}*\d){_URL_SAFE}{{20,}}",
        "gitleaks: openai-api-key (before T3BlbkFJ), and many that follow it",
    ),
    Format(
        "huggingface-token",
        ("hf_", "api_org_"),
        r"(?:hf|api_org)_[A-Za-z0-9]{30,}",
        "https://huggingface.co/docs/hub/security-tokens",
    ),
    Format("perplexity-key", ("pplx-",), r"pplx-[A-Za-z0-9]{32,}", "gitleaks: perplexity-api-key"),
    Format("groq-key", ("gsk_",), r"gsk_[A-Za-z0-9]{40,}", "https://console.groq.com/docs/quickstart"),
    Format(
        "replicate-token", ("r8_",), r"r8_[A-Za-z0-9]{30,}", "https://replicate.com/docs/reference/http#authentication"
    ),
    Format(
        "databricks-token",
        ("dapi", "dkea[a-f0-9]", "dose[a-f0-9]"),
        r"(?:dapi|dkea|dose)[a-f0-9]{32}(?:-\d)?",
        "gitleaks: databricks-api-token",
    ),
    Format(
        "airtable-token",
        (r"pat[A-Za-z0-9]{14}\.",),
        r"pat[A-Za-z0-9]{14}\.[a-f0-9]{64}",
        "gitleaks: airtable-personnal-access-token",
    ),
    Format(
        "notion-token",
        ("ntn_", "secret_"),
        r"ntn_[A-Za-z0-9]{40,}|secret_[A-Za-z0-9]{43}",
        "gitleaks: notion-api-token",
    ),
    Format(
        "planetscale-token",
        ("pscale_",),
        r"pscale_(?:tkn|oauth|pw)_[A-Za-z0-9_=.-]{32,}",
        "gitleaks: planetscale-api-token",
    ),
    Format(
        "clickhouse-cloud-key",
        ("4b1d[A-Za-z0-9]{38}",),
        r"4b1d[A-Za-z0-9]{38}(?![A-Za-z0-9])",
        "gitleaks: clickhouse-cloud-api-secret-key",
    ),
    Format("prefect-key", ("pnu_", "pnb_"), r"pn[ub]_[A-Za-z0-9]{36}", "gitleaks: prefect-api-token"),
    Format("maxmind-key", ("_mmk",), r"[A-Za-z0-9]{6}_[A-Za-z0-9]{29}_mmk", "gitleaks: maxmind-license-key"),
    # Packages and delivery
    Format("npm-token", ("npm_",), r"npm_[A-Za-z0-9]{30,}", "https://docs.npmjs.com/about-access-tokens"),
    Format("pypi-token", ("pypi-",), rf"pypi-AgE{_URL_SAFE}{{30,}}", "https://pypi.org/help/#apitoken"),
    Format("rubygems-key", ("rubygems_",), r"rubygems_[a-f0-9]{48}", "gitleaks: rubygems-api-token"),
    Format(
        "docker-token",
        ("dckr_pat_", "dckr_oat_"),
        rf"dckr_[po]at_{_URL_SAFE}{{20,}}",
        "https://docs.docker.com/security/access-tokens/",
    ),
    Format("clojars-token", ("CLOJARS_",), r"CLOJARS_[a-z0-9]{60}", "gitleaks: clojars-api-token"),
    Format(
        "artifactory-key",
        ("AKCp", "cmVmd"),
        r"AKCp[A-Za-z0-9]{69}|cmVmd[A-Za-z0-9]{59}",
        "gitleaks: artifactory-api-key",
    ),
    Format(
        "octopus-key", ("API-[A-Z0-9]{26}",), r"API-[A-Z0-9]{26}(?![A-Za-z0-9])", "gitleaks: octopus-deploy-api-key"
    ),
    Format("pulumi-token", ("pul-",), r"pul-[a-f0-9]{40}", "gitleaks: pulumi-api-token"),
    Format(
        "terraform-token",
        (".atlasv1.",),
        r"[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_=-]{60,70}",
        "gitleaks: hashicorp-tf-api-token",
    ),
    Format(
        "vault-token",
        (r"hv[sbr]\.",),
        rf"hv[sbr]\.{_URL_SAFE}{{24,}}",
        "https://developer.hashicorp.com/vault/docs/concepts/tokens",
    ),
    Format(
        "doppler-token",
        (r"dp\.[a-z]",),
        r"dp\.(?:pt|st|ct|sa|scim|audit)\.(?:[a-z0-9_-]+\.)?[A-Za-z0-9]{40,}",
        "gitleaks: doppler-api-token",
    ),
    Format("openshift-token", ("sha256~",), rf"sha256~{_URL_SAFE}{{43}}", "gitleaks: openshift-user-token"),
    Format("scalingo-token", ("tk-us-",), rf"tk-us-{_URL_SAFE}{{40,}}", "gitleaks: scalingo-api-token"),
    Format("infracost-key", ("ico-",), r"ico-[A-Za-z0-9]{32}", "gitleaks: infracost-api-token"),
    Format(
        "harness-key",
        (
            r"pat\.[A-Za-z0-9_-]{22}",
            r"sat\.[A-Za-z0-9_-]{22}",
        ),
        r"[ps]at\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9]{24}\.[A-Za-z0-9]{20}",
        "gitleaks: harness-api-key",
    ),
    # Watching and working
    Format(
        "grafana-token",
        ("glc_", "glsa_", "eyJrIjoi"),
        r"glc_[A-Za-z0-9+/]{32,}={0,3}|glsa_[A-Za-z0-9]{32}_[A-Fa-f0-9]{8}|eyJrIjoi[A-Za-z0-9]{60,}={0,3}",
        "gitleaks: grafana-service-account-token",
    ),
    Format("sentry-token", ("sntrys_", "sntryu_"), r"sntry[su]_[A-Za-z0-9+/=_]{40,}", "gitleaks: sentry-org-token"),
    Format(
        "new-relic-key",
        ("NRAK-", "NRII-", "NRJS-"),
        r"NR(?:AK|II|JS)-[A-Za-z0-9-]{19,}",
        "gitleaks: new-relic-user-api-key",
    ),
    Format(
        "dynatrace-token",
        (r"dt0[cs]01\.",),
        r"dt0[cs]01\.[A-Za-z0-9]{24}\.[A-Za-z0-9]{64}",
        "gitleaks: dynatrace-api-token",
    ),
    Format("postman-key", ("PMAK-",), r"PMAK-[a-f0-9]{24}-[a-f0-9]{34}", "gitleaks: postman-api-token"),
    Format(
        "sourcegraph-token",
        ("sgp_",),
        r"sgp_(?:(?:[a-fA-F0-9]{16}|local)_)?[a-fA-F0-9]{40}",
        "gitleaks: sourcegraph-access-token",
    ),
    Format("linear-key", ("lin_api_", "lin_oauth_"), r"lin_(?:api|oauth)_[A-Za-z0-9]{40,}", "gitleaks: linear-api-key"),
    Format("atlassian-token", ("ATATT3", "ATCTT3"), r"AT[AC]TT3[A-Za-z0-9_=-]{60,}", "gitleaks: atlassian-api-token"),
    Format(
        "shopify-token",
        ("shpat_", "shpca_", "shppa_", "shpss_"),
        r"shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}",
        "gitleaks: shopify-access-token",
    ),
    Format("typeform-token", ("tfp_",), r"tfp_[A-Za-z0-9_.=-]{40,}", "gitleaks: typeform-api-token"),
    Format(
        "figma-token",
        ("figd_", "figo_", "figr_"),
        rf"fig[dor]_{_URL_SAFE}{{20,}}",
        "https://www.figma.com/developers/api#access-tokens",
    ),
    Format("frameio-token", ("fio-u-",), r"fio-u-[A-Za-z0-9_=-]{64}", "gitleaks: frameio-api-token"),
    Format("readme-key", ("rdme_",), r"rdme_[a-z0-9]{70}", "gitleaks: readme-api-token"),
    Format(
        "tailscale-key",
        ("tskey-",),
        r"tskey-[a-z]+-[A-Za-z0-9]+-[A-Za-z0-9]{20,}",
        "https://tailscale.com/kb/1085/auth-keys",
    ),
    Format(
        "settlemint-token",
        ("sm_aat_", "sm_pat_", "sm_sat_"),
        r"sm_[aps]at_[A-Za-z0-9]{16}",
        "gitleaks: settlemint-personal-access-token",
    ),
    Format("adobe-client-secret", ("p8e-",), r"p8e-[A-Za-z0-9]{32}", "gitleaks: adobe-client-secret"),
    Format("intra42-secret", ("s-s4t2",), r"s-s4t2(?:ud|af)-[a-f0-9]{64}", "gitleaks: intra42-client-secret"),
    Format(
        "defined-networking-token",
        ("dnkey-",),
        rf"dnkey-{_URL_SAFE}{{26}}-{_URL_SAFE}{{52}}",
        "gitleaks: defined-networking-api-token",
    ),
    Format("facebook-token", ("EAAC", "EAAM"), r"EAA[MC][A-Za-z0-9]{100,}", "gitleaks: facebook-page-access-token"),
    Format(
        "authress-key",
        (".acc",),
        r"(?:sc|ext|scauth|authress)_[a-z0-9]{5,30}\.[a-z0-9]{4,6}\.acc[_-][a-z0-9-]{10,32}\.[A-Za-z0-9+/_=-]{30,120}",
        "gitleaks: authress-service-client-access-key",
    ),
    # Keys and tokens of no one vendor
    Format(
        "jwt",
        ("eyJ",),
        r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)*",
        "https://www.rfc-editor.org/rfc/rfc7519",
    ),
    Format(
        "1password-secret",
        ("A3-[A-Z0-9]{6}", "ops_eyJ"),
        r"A3-[A-Z0-9]{6}-(?:[A-Z0-9]{11}|[A-Z0-9]{6}-[A-Z0-9]{5})(?:-[A-Z0-9]{5}){3}|ops_eyJ[A-Za-z0-9+/]{100,}={0,3}",
        "gitleaks: 1password-secret-key",
    ),
    Format("age-secret-key", ("AGE-SECRET-KEY-1",), r"AGE-SECRET-KEY-1[A-Z0-9]{50,}", "gitleaks: age-secret-key"),
    Format("xray-key", ("xray_",), rf"xray_[0-9a-f]{{8}}_{_URL_SAFE}{{16,}}", "docs/operations.md"),
)
