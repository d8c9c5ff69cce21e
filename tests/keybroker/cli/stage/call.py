"""A program that knows nothing of Keybroker."""

import openai

client = openai.OpenAI()
stream = client.chat.completions.create(
    model="gpt-5-mini", messages=[{"role": "user", "content": "hello"}], stream=True
)
for chunk in stream:
    print(chunk.choices[0].delta.content or "", end="", flush=True)
print()
