"""Alipay's bills, for `refundry reconcile`.

Source: the details file of the bill of type `trade` (`alipay.data.dataservice.bill.downloadurl.query`), as public code
and notes show it (www.gxitsky.com/2020/07/27/Business-07-ali-pay-bill): GBK, lines of text that begin with `#`, a line
with the names of the columns, values padded with tabs, refunds with a negative amount in CNY. The column of the request
number has the out_request_no of a refund. The official description of the columns could not be had.
The bill covers a day of Beijing time. It has no number of Alipay's own for a refund, and lists only what was done.
"""

from typing import Final

from refundry.provider import ReportFormat

TRADE_BILL: Final = ReportFormat(
    name="trade_bill",
    refund_request_id="退款批次号/请求号",
    amount="订单金额(元)",
    currency="CNY",
    refunds={"业务类型": "退款"},
    encoding="gb18030",
    comment="#",
    utc_offset="+08:00",
    source="alipay.data.dataservice.bill.downloadurl.query, bill_type=trade",
)
