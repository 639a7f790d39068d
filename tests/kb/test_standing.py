"""Which questions go on from the history, and which ask nothing of any document."""

from __future__ import annotations

import pytest

from kb.followups import Standing, judge

ALONE = """
Which one of the plans is cheaper?
Which one is cheaper, X200 or X300?
哪个更便宜，X200还是X300？
哪个城市最大？
What is a thank-you note?
What is the warranty period of the X200?
How many days of annual leave do employees get?
How do I apply for parental leave?
Hello, how long is the warranty?
Hi! Which documents do I need for a visa?
Thanks. How many days of sick leave are there?
Which languages does the product support?
What does the contract say about translation into English?
Translate the contract into English
Summarize refunds.md
Which files are there?
What is this document about?
What did Tesla do when he left the company?
Who founded the company and when did it go public?
How long does it take to process a refund?
Is it possible to cancel an order after shipping?
What happens to those who miss the deadline?
In what year was the company founded?
Can an employee carry over unused leave if they resign?
Besides his poems, what is Goethe known for?
Who may choose their own schedule?
What if an employee resigns during probation?
warranty
refund policy
iPhone 13
E1070
right to work
Good morning America launch date
Write an email template for refunds
What is the shortest route to the office?
Is English the working language?
table of contents
Who are your suppliers in Germany?
保修期多长？
你好，保修期多长？
您好！请问退款需要几天？
谢谢。请问病假有几天？
你好，李焕英的票房是多少？
感谢信怎么写？
年假有多少天？
怎么申请年假？
如何用英文写合同？
英文合同的格式要求是什么？
把合同翻译成英文要多少钱？
总结一下 refunds.md
有哪些文件？
这份文档讲了什么？
为什么要提前申请？
公司成立于哪一年，它的总部在哪里？
张三什么时候入职，他的职位是什么？
其他部门的报销标准是多少？
吉他怎么保养？
马耳他签证需要什么材料？
他汀类药物有哪些副作用？
那不勒斯在哪里？
还有哪些公司在二〇二四年参加了这次展会？
第三条规定了什么？
第一个登上月球的人是谁？
退货运费是什么标准呢？
员工离职了怎么办？
如果员工在试用期离职，工资怎么算？
表格有哪些字段？
出差补贴
这个鲤鱼门天后庙建于哪一年？
継続はどうしますか？
それは何ですか？
그것은 무엇인가요?
환불은 어떻게 하나요?
Wie lange gilt die Garantie?
"""

FOLLOW_UP = """
which one is cheaper?
Which of them lasts longer?
哪一个更便宜？
哪個比較耐用呢？
and in 2024?
And for part-time employees?
But what about contractors?
What about sick leave?
How about in Germany?
So what happens then?
Why?
Why not?
How so?
When?
How much?
How much does it cost?
How do I apply for it?
How do I apply?
What is it?
Who invented it?
When did he die?
What are their opening hours?
Is that correct?
Is this true?
Are you sure?
What does that mean?
What does this policy cover?
What are the exceptions?
The second one?
What is the second one?
What else?
Anything else?
Tell me more
More details, please
Explain that
Can you explain further?
Give me an example
Say that again
Thanks, and in 2024?
ok, what about refunds?
in 2024?
for contractors?
2023?
Summarize it
Is the same true for contractors?
What is the difference?
它呢？
那2024年呢？
2024年呢？
病假呢？
那病假怎么算？
再讲一遍
再说一次
为什么？
为什么呢？
然后呢？
还有吗？
还有其他的吗
详细说说
请详细解释一下
具体一点
举个例子
你确定吗？
真的吗
它的保修期多长？
他是谁？
她什么时候入职？
怎么联系他们？
他们的办公地点在哪里？
这是什么意思？
这个怎么申请？
这个产品多少钱？
那个项目什么时候开始？
多少钱？
怎么申请？
有什么区别？
需要什么材料？
什么时候生效？
前者呢
第二个是什么意思？
第二点具体指什么
另外，病假呢？
谢谢，那病假呢？
好的，那2024年呢？
還有別的嗎？
那病假怎麼算？
"""

TALK = """
Hi
hello!
Hello there
Good morning!
Thanks
thank you very much!
Thanks a lot, that's great.
Thanks for your help!
ok
OK, got it. Thanks!
Great 👍
Who are you?
What can you do?
Are you a bot?
How are you today?
bye
yes
translate that into English
Can you translate this to Chinese?
Translate
make it shorter
Make it a bit shorter, please.
shorter please
Rewrite it in a formal tone
Answer in English
in English, please
Put that in a table
Give me that as a bulleted list
Say it in one sentence
Summarize your answer
summarize the conversation
How do you say that in French?
continue
go on
你好
您好！
你好啊
嗨
早上好
谢谢
谢谢你！
非常感谢
好的，谢谢
好的
明白了
再见
你是谁
你是谁？
你叫什么名字？
你能做什么？
请介绍一下你自己
你是机器人吗？
用英文再说一遍
请用英文回答
翻译成英文
把它翻译成英文
用英文怎么说？
能不能简短一点？
短一点
太长了
用表格列出来
用一句话说
请把上面的回答改写得更正式
总结一下上面的回答
继续
请继续说
謝謝
用英文再說一遍
用繁體字再說一次
請條列式回答
"""


def lines(text: str) -> list[str]:
    return text.strip().splitlines()


@pytest.mark.parametrize("question", lines(ALONE))
def test_question_stands_alone(question: str) -> None:
    assert judge(question, has_history=True) is Standing.ALONE


@pytest.mark.parametrize("question", lines(FOLLOW_UP))
def test_question_goes_on_from_the_history(question: str) -> None:
    assert judge(question, has_history=True) is Standing.FOLLOW_UP
    assert judge(question, has_history=False) is Standing.ALONE


@pytest.mark.parametrize("question", lines(TALK))
@pytest.mark.parametrize("has_history", [True, False])
def test_talk_asks_nothing_of_the_documents(question: str, has_history: bool) -> None:
    assert judge(question, has_history) is Standing.TALK


ODD = ["", "   ", "?", "？？", "\0", "\ud800", "a" * 100_000, "它" * 100_000, "ok " * 60]
REPEATED = [
    "1",
    "x, ok. ",
    "ok, ",
    "的",
    "那么",
    "的x",
    "it ",
    "that ",
    "再",
    "请",
    "thank you ",
    "a-",
    ".",
    " ",
    "用英文",
]


@pytest.mark.parametrize("question", [*ODD, *(f"{piece * (110 // len(piece))}x它 it?" for piece in REPEATED)])
def test_odd_input_has_a_standing(question: str) -> None:
    assert judge(question, has_history=True) in Standing
