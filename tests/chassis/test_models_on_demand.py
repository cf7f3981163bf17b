"""aiogram, imported with its models left for later: in a process of its own, for here it is imported already."""

import json
import subprocess
import sys

PROGRAM = """
import json
from chassis.models_on_demand import models_on_demand
with models_on_demand():
    from aiogram import methods, types
from pydantic import BaseModel

models = [each for module in (types, methods) for each in vars(module).values()
          if isinstance(each, type) and issubclass(each, BaseModel)]
at_first = sum(each.__pydantic_complete__ for each in models)
update = types.Update.model_validate({"update_id": 1, "message": {
    "message_id": 2, "date": 3, "chat": {"id": 4, "type": "private"}, "text": "hi",
    "reply_to_message": {"message_id": 1, "date": 3, "chat": {"id": 4, "type": "private"}}}})
answer = methods.Response[list[types.Update]].model_validate({"ok": True, "result": [{"update_id": 5}]})
methods.SendMessage(chat_id=4, text="hi", reply_markup=types.ReplyKeyboardRemove(remove_keyboard=True))
for each in models:
    each.model_rebuild()
print(json.dumps({
    "models": len(models),
    "complete at first": at_first,
    "incomplete at last": [each.__name__ for each in models if not each.__pydantic_complete__],
    "answer": answer.result[0].update_id,
    "date": str(update.message.reply_to_message.date),
}))
"""


def test_models_are_built_when_they_are_used_and_all_of_them_can_be() -> None:
    told = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True).stdout
    found = json.loads(told)
    assert found["models"] > 300
    assert found["complete at first"] < found["models"] / 2
    assert found["incomplete at last"] == []
    assert found["answer"] == 5
    assert found["date"] == "1970-01-01 00:00:03+00:00"
