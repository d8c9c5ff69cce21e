# The base URL is another one each time, and Codex reads none from the environment.
codex -c model_provider=keybroker -c model_providers.keybroker.name=Keybroker \
  -c model_providers.keybroker.base_url="$OPENAI_BASE_URL" -c model_providers.keybroker.env_key=OPENAI_API_KEY \
  -c model_providers.keybroker.wire_api=responses "$@"
